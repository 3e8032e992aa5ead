"""What is vendored is what its note says, and its licence comes with it."""

import hashlib
import re
from importlib import resources

VENDOR = resources.files("saddlepoint.report") / "vendor"


def test_the_bundle_is_the_one_that_the_note_names():
    note, bundle = (VENDOR / "README.md").read_text(encoding="utf-8"), (VENDOR / "plotly-basic.min.js").read_bytes()
    assert re.search(r"sha256: `([0-9a-f]{64})`", note)[1] == hashlib.sha256(bundle).hexdigest()
    version = re.search(r"Version: ([\d.]+)", note)[1]
    assert f"plotly.js (basic - minified) v{version}\n".encode() in bundle[:200]


def test_the_licence_comes_with_it():
    assert (VENDOR / "plotly-basic.LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")


def test_the_bundle_can_stand_in_a_script_element():
    bundle = (VENDOR / "plotly-basic.min.js").read_text(encoding="utf-8").lower()
    assert not re.search(r"</script|<!--|<script|\r|\0", bundle)
