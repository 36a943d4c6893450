"""docs/settings.md says what every setting is, as the dataclasses do. `make golden` writes it anew."""

import dataclasses
import inspect
import os
import pathlib

from speechlm_jax import configurables, settings

PATH = pathlib.Path(__file__).resolve().parents[2] / "docs" / "settings.md"
HEAD = """# Every setting

Bound in a gin file, `Model.width = 512`, or on the command line, `--gin.Model.width=512`. Written by `make golden` from
the dataclasses themselves; `speechlm VERB --help` says the same of a verb.

"""


def test_the_page_of_settings_is_what_the_dataclasses_say():
    known = configurables.defined_in(configurables.config_modules())
    owners = [owner for owner in known.values() if inspect.isclass(owner) and dataclasses.is_dataclass(owner)]
    assert len(owners) > 15
    found = HEAD + settings.reference(sorted(owners, key=lambda owner: owner.__name__))
    if os.environ.get("RENEW_GOLDEN"):
        PATH.write_text(found, encoding="utf-8")
    assert found == PATH.read_text(encoding="utf-8"), "`make golden` writes it anew."
