"""What README.md tells a newcomer to type is there."""

import itertools
import json
import re
import subprocess
import tomllib

import figures
import plans
from house.rooms import ROOT

from speechlm_jax import cli

README = (ROOT / "README.md").read_text()
FIGURES = (ROOT / "docs" / "figures.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def cells():
    """What the table of figures says, by the files that its scripts keep."""
    packing, growth, read = (figures.kept(name) for name in ("packing", "growth_cpu", "input_cpu"))
    step, alone = figures.kept("train_step_tiny_cpu"), figures.kept("train_step_tiny_cpu_alone")
    lanes = packing["packed_mixed_lanes"]
    yield ", ".join(f"{packing[name]:.2f}" for name in ("pad_30s", "buckets_16", "packed", "packed_60s"))
    yield ", ".join(f"{lanes[name]:.2f}" for name in ("audio", "targets", "inputs"))
    yield f"{step['padded_ratio']:.2f}; {step['useful_ratio']:.2f}"
    epyc = figures.kept("train_step_tiny_epyc")
    yield f"{epyc['padded_ratio']:.2f}; {epyc['useful_ratio']:.2f}"
    yield f"{step['default_useful_ratio']:.2f}; {alone['default_packing_ratio']:.2f}"
    yield ", ".join(f"{growth['axes'][name]['power']:.2f}" for name in ("rows", "seconds", "layers", "shards"))
    yield f"{growth['compile_ratio']:.2f}, {growth['text_ratio']:.2f}"
    yield ", ".join(f"{read[f'{name}_audio_s_per_s_core']:,}" for name in ("cache", "flac", "written"))
    yield f"{read['host_audio_s_per_s_needed']:,}"


def test_the_figures_are_those_that_the_scripts_kept():
    for cell in cells():
        assert f" | {cell} | `python benchmarks/" in FIGURES, cell
    packing = figures.kept("packing")
    share = {name: f"{packing[name]:.2f}" for name in ("packed", "packed_60s", "pad_30s", "buckets_16")}
    told = f"{share['packed']} is speech in rows of 35 s, {share['packed_60s']} in rows of 60 s"
    assert f"{told};\n  padding to 30 s leaves {share['pad_30s']}, 16 buckets {share['buckets_16']} (`bench" in README
    planned = json.loads((plans.GOLDEN / "large_v5e_256.json").read_text())
    assert figures.kept("input_cpu")["host_audio_s_per_s_needed"] == round(planned["host_audio_seconds_per_second"])


def found_faults():
    """What the table of faults says."""
    faults = figures.kept("faults")
    kills, routes, damaged, wrong = (
        faults[name] for name in ("kill_points", "topologies", "corruptions", "not_finite")
    )
    yield f"{kills['identical']} of {kills['tried']} end bit for bit; {faults['lost_steps']} steps were lost at most"
    yield f"{routes['identical']} of {routes['tried']}"
    yield f"{damaged['detected']} of {damaged['tried']} told, and the step before taken"
    arrays = f"{wrong['not_finite']} of {wrong['arrays_published']:,} saved arrays"
    yield f"{wrong['runs_that_ended']} of {wrong['injections']} runs ended; {arrays} not finite"
    yield f"{faults['fuzz']['inputs']:,}: each read, or refused in one line"
    yield ", ".join(f"{faults['soak'][f'{name}_ratio']:.2f}" for name in ("memory", "threads", "files"))
    cost = faults["safeguards"]
    low, high = cost["overhead_interval"]
    yield f"{cost['overhead']:+.1%}, quartiles {low:+.1%} and {high:+.1%}"


def test_the_faults_are_those_that_were_tried():
    for cell in found_faults():
        assert f" | {cell} |" in README, cell
    assert f"in {figures.kept('faults')['minutes']:.0f} minutes" in README


def test_the_guide_to_scale_tells_what_was_kept():
    guide = (ROOT / "docs" / "scale.md").read_text()
    read, step = figures.kept("input_cpu"), figures.kept("train_step_tiny_cpu_alone")
    for name in ("cache", "flac", "written"):
        assert f" | {read[f'{name}_audio_s_per_s_core']:,} | {read['cores_needed'][name]} |" in guide
    assert f"({step['product_operations_per_second']['ours_padded'] / 1e9:.0f} G)" in guide
    for name in ("ours_padded", "ours_packed", "ours_default"):
        assert f"{step['share_of_products'][name]:.0%}" in guide


def test_the_guide_to_decoding_tells_what_was_kept():
    guide = (ROOT / "docs" / "decoding.md").read_text()
    for name in ("long_recording", "long_recording_aligned", "long_recording_letters"):
        kept = figures.kept(name)
        assert kept["share"] == 1 == kept["peak_ratio"] and kept["minutes"] > 60
        near = f"{kept['within_100_ms']:.0%} | {kept['start_error_ms'][0]:.0f} ms"
        assert f" | {kept['wer']:.1%} | {near} |" in guide and f"{name}.json`" in guide


def test_the_two_commands_are_in_the_readme_and_can_be_made():
    for target in ("quickstart", "test"):
        assert f"make {target}" in README
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert planned.returncode == 0, planned.stderr


def test_every_target_that_the_documents_name_exists():
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.ipynb")]
    command = re.compile(r"(?:`|^    )make ([a-z-]+)", re.MULTILINE)
    named = {target for path in documents for target in command.findall(path.read_text())}
    assert named <= targets, f"not in the Makefile: {sorted(named - targets)}"


def test_every_file_that_the_documents_link_to_exists():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.ipynb")]:
        for link in re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_every_verb_has_its_line():
    page = (ROOT / "docs" / "verbs.md").read_text()
    assert not [verb for verb in cli.VERBS if f"`speechlm {verb} " not in page]


def test_every_dependency_has_a_lower_and_an_upper_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    assert not [line for line in lines if not re.search(r">=[\w.]+,<[\w.]+$", line)]
