"""What all pictures of measurements have in common: SVG, written as it is, without scripts and fonts."""

from html import escape

STYLE = """\
text { font: 12px sans-serif; fill: #222 }
.title { font-size: 14px; font-weight: bold } .small { fill: #666 }
@media (prefers-color-scheme: dark) {
  svg { background: #15181c } text { fill: #ddd } .small { fill: #999 }
}
"""


def document(title, width, height, style, body):
    """A picture of `body`, a list of lines, below its title; `style` comes on top of what is common."""
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        f"<style>{STYLE}{style}</style>",
        f'<text class="title" x="10" y="22">{escape(title)}</text>',
        *body,
        "</svg>",
    ]) + "\n"
