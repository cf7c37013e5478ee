"""Where the time of an export goes: phases in every export; every call, samples and memory where asked for."""
