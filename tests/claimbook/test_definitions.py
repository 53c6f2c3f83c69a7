"""The definitions that are shown where a term is met."""

import json
from pathlib import Path

from tiny_sphinx import build_in

from claimbook.markup import definitions

INDEX = """# Start

```{toctree}
other
plain
```

```{glossary}
loss
  What is paid, in {term}`nats <nat>`: $-\\log p$.

nat
  A unit of `information`.
```
"""


def test_each_page_that_refers_to_a_term_gets_the_definitions(tmp_path: Path) -> None:
    built = build_in(
        tmp_path,
        {
            "book/index.md": INDEX,
            "book/other.md": "# Other\n\nThe {term}`loss`.\n",
            "book/plain.md": "# Plain\n\nNo word of it.\n",
        },
    )
    script = (built.out / "_static" / definitions.DATA).read_text(encoding="utf-8")
    found = json.loads(script.removeprefix("window.DEFINITIONS = ").rstrip(";\n"))
    assert set(found) == {"term-loss", "term-nat"}
    assert "What is paid, in" in found["term-loss"]
    assert "<math" in found["term-loss"]
    assert "information</" in found["term-nat"]
    assert "<a " not in script
    assert ' id="' not in script
    for page, loaded in (("other", True), ("index", True), ("plain", False), ("search", False)):
        name = f"book/{page}" if page != "search" else page
        assert (definitions.DATA in built.page(name)) is loaded
        assert (definitions.SCRIPT in built.page(name)) is loaded
