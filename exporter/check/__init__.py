"""The check that models stay exportable: a manifest, one process a model, a baseline, reports."""
