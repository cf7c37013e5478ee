"""The manifest: what it may say, how a part of it is chosen, and what is said of a wrong one."""

from __future__ import annotations

import pytest
import torch
from torchvision_without_binary import import_torchvision

from exporter.check.manifest import ZOOS, find_manifest, read_manifest, settings_of
from exporter.check.measuring import measure
from exporter.check.outcomes import Verdict
from exporter.check.specs import Tolerances, example_input
from exporter.errors import BaselineError, ManifestError

MODEL = '[models.net]\nfactory = "models:net"\n'


def read(tmp_path, text, name="exportable.toml"):
    path = tmp_path / name
    path.write_text(text)
    return read_manifest(path)


def test_settings_and_defaults(tmp_path):
    manifest = read(
        tmp_path,
        """
        [defaults]
        opset = 20
        path = ["tests"]
        tolerances = { nodes = 0.1, values = 1e-3 }

        [models.a]
        factory = "m:a"

        [models."group/b"]
        factory = "m:b"
        arguments = { width = 3 }
        inputs = ["float32[1, 8]"]
        dynamic_shapes = { x = { 0 = "batch", -1 = "seq" } }
        opset = 18
        providers = ["cpu", "cuda"]
        tolerances = { values = 1e-2, seconds = 3 }
        timeout_seconds = 10
        memory_mb = 512
        """,
    )
    first, second = manifest.models
    assert (first.opset, first.tolerances) == (20, Tolerances(values=1e-3, nodes=0.1))
    assert (second.name, second.opset, second.arguments) == ("group/b", 18, {"width": 3})
    assert second.dynamic_shapes == {"x": {0: "batch", -1: "seq"}}
    assert second.tolerances == Tolerances(values=1e-2, nodes=0.1, seconds=3)
    assert (second.providers, second.timeout_seconds, second.memory_mb) == (("cpu", "cuda"), 10, 512)
    assert second.path == (str(tmp_path / "tests"), str(tmp_path))
    assert manifest.baseline_path == tmp_path / "exportable.lock.json"


def test_pyproject(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.fx2onnx.models.net]\nfactory = "m:net"\n')
    assert [model.name for model in read_manifest(find_manifest(tmp_path)).models] == ["net"]


WRONG = {
    "no TOML": ("[models", "must be TOML"),
    "no model": ("[defaults]\nopset = 18", "must have a model"),
    "unknown table": ("[model.net]\n", "there is no setting 'model'"),
    "unknown setting": (MODEL + "opsett = 18", r"\[models.net\]: there is no setting 'opsett'"),
    "another kind": (MODEL + 'opset = "18"', r"\[models.net\]: opset must be a int, got '18'"),
    "truth is no number": (MODEL + "opset = true", "opset must be a int, got True"),
    "no factory": ("[models.net]\nopset = 18", "must have factory"),
    "no function": ('[models.net]\nfactory = "models"', "must have factory"),
    "no share": (MODEL + "tolerances = { nodes = -1 }", "nodes must be a share of at least 0, got -1"),
    "unknown tolerance": (MODEL + "tolerances = { node = 1 }", "tolerances: there is no setting 'node'"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_wrong_manifests(tmp_path, text, message):
    with pytest.raises(ManifestError, match=message):
        read(tmp_path, text)


def test_no_manifest(tmp_path):
    with pytest.raises(ManifestError, match="there is no manifest here") as caught:
        find_manifest(tmp_path)
    assert "fx2onnx check --init" in caught.value.hint


def many(tmp_path):
    return read(tmp_path, "".join(f'[models.m{i}]\nfactory = "m:f"\ntags = ["t{i % 2}"]\n' for i in range(12)))


def test_shards_are_all_of_it_once(tmp_path):
    manifest = many(tmp_path)
    shards = [[model.name for model in manifest.chosen(shard=f"{i}/5")] for i in range(1, 6)]
    assert sorted(name for shard in shards for name in shard) == sorted(model.name for model in manifest.models)
    assert {len(shard) for shard in shards} == {2, 3}
    assert shards[1] == ["m1", "m6", "m11"]


@pytest.mark.parametrize("shard", ["0/5", "6/5", "2", "a/b", "1/0"])
def test_wrong_shards(tmp_path, shard):
    with pytest.raises(ManifestError, match="must be I/N"):
        many(tmp_path).chosen(shard=shard)


def test_names_and_tags(tmp_path):
    manifest = many(tmp_path)
    assert [model.name for model in manifest.chosen(names=["m1*"])] == ["m1", "m10", "m11"]
    assert [model.name for model in manifest.chosen(names=["m1*"], tags=["t0"])] == ["m10"]
    with pytest.raises(ManifestError, match="has no model 'x'"):
        manifest.chosen(names=["x"])


def test_example_inputs():
    assert example_input("float32[2, 3]").shape == (2, 3)
    ids = example_input("int64[50] < 7")
    assert (ids.dtype, int(ids.min()), int(ids.max())) == (torch.int64, 0, 6)
    assert example_input("bool[2] = 1").tolist() == [True, True]
    assert example_input("float16[]").shape == ()


@pytest.mark.parametrize("text", ["floats[2]", "float32", "int64[2] > 3", "nn[1]", "float32[a]"])
def test_wrong_inputs(text):
    with pytest.raises(ManifestError, match="inputs: must be a dtype and a shape"):
        example_input(text)


def test_settings_of_a_test_are_checked():
    with pytest.raises(ManifestError, match="there is no setting 'opsets'"):
        settings_of("net", {"opsets": 18})


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": 9, "made_with": [], "models": {}}', '{"format": 1, "models": []}']
)
def test_wrong_baselines(tmp_path, text):
    from exporter.check.baseline import read_baseline

    path = tmp_path / "exportable.lock.json"
    path.write_text(text)
    with pytest.raises(BaselineError, match=r"exportable\.lock\.json: (cannot be read|must have format 1)"):
        read_baseline(path)


@pytest.mark.parametrize("zoo", ["torchvision", "timm", "transformers"])
def test_zoos_are_manifests(zoo):
    assert len(read_manifest(ZOOS / f"{zoo}.toml").models) >= 20


@pytest.mark.parametrize(
    ("zoo", "name"),
    [("torchvision", "lraspp_mobilenet_v3_large"), ("timm", "lcnet_050"), ("transformers", "bert")],
)
def test_a_model_of_each_zoo_passes(zoo, name):
    import_torchvision()
    (spec,) = [model for model in read_manifest(ZOOS / f"{zoo}.toml").models if model.name == name]
    assert measure(spec).verdict is Verdict.PASSED
