"""The texts that search shows snippets of."""

from claimbook.markup import search

PAGE = """<article id="top"><section id="one"><h1>First<a class="headerlink">#</a></h1>
<p>Mirror  text.</p><script>let code;</script>
<section id="two"><h2>Second</h2>
<p>In<em>ner</em>.</p>
<details><summary>Show code</summary>x = 1</details>
</section><p>After.</p></section></article>"""


def test_the_text_of_a_page_is_split_at_its_sections() -> None:
    found = search.sections(PAGE)
    assert found == {"one": "First Mirror text. After.", "two": "Second Inner. x = 1"}


def test_a_page_without_a_text_has_none() -> None:
    assert search.sections("<main>Index</main>") == {}
