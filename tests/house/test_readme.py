"""What README.md tells a newcomer to type is there."""

import itertools
import re
import subprocess
import tomllib

from house.rooms import ROOT

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_the_two_commands_are_in_the_readme_and_can_be_made():
    for target in ("quickstart", "test"):
        assert f"make {target}" in README
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert planned.returncode == 0, planned.stderr


def test_every_target_that_the_documents_name_exists():
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    command = re.compile(r"(?:`|^    )make ([a-z-]+)", re.MULTILINE)
    named = {target for path in documents for target in command.findall(path.read_text())}
    assert named <= targets, f"not in the Makefile: {sorted(named - targets)}"


def test_every_file_that_the_documents_link_to_exists():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_every_dependency_has_a_lower_and_an_upper_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    assert not [line for line in lines if not re.search(r">=[\w.]+,<[\w.]+$", line)]
