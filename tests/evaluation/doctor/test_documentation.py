"""The page on the doctor lists every finding with its level, and no other."""

import ast
import re
from pathlib import Path

from saddlepoint.evaluation.doctor import mappings
from saddlepoint.evaluation.findings import of_logits

ROOT = Path(__file__).parents[3]
LEVELS = ("error", "warning", "note")


def made():
    """(level, title) of every finding that the code makes, as far as both are written out."""
    found = {("error", getattr(mappings, name)) for name in dir(mappings) if name.isupper() and name[0] != "_"}
    for path in (ROOT / "src/saddlepoint/evaluation/doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "finding":
                level, title = node.args
                texts = [part.value for part in ast.walk(title) if isinstance(part, ast.Constant)]
                found |= {(level.value, text) for text in texts}
    source = (ROOT / "src/saddlepoint/evaluation/findings.py").read_text(encoding="utf-8")
    part = source.partition(f"def {of_logits.__name__}")[2].partition("def of_model")[0]
    return found | set(re.findall(r'level="(\w+)",\s+title="([^"]+)"', part))


def test_the_page_lists_every_finding():
    page = (ROOT / "docs/doctor.md").read_text(encoding="utf-8")
    listed = {(level, title) for level, title in re.findall(r"^\| (\w+) \| ([^|]+) \|", page, re.M) if level in LEVELS}
    assert listed == made()
