"""The pages for people: `/` with calls to copy, `/docs` with Swagger; nothing from elsewhere."""

from __future__ import annotations

import json
from html import escape

from services.examples import EXAMPLES

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2733; background: #fff }
pre { background: #f2f5f8; padding: .8rem 1rem; overflow-x: auto; border-radius: 6px }
a { color: #0b63c5 } h2 { margin-top: 2rem }
@media (prefers-color-scheme: dark) {
  body { color: #dde4ea; background: #14191f } pre { background: #1f272f } a { color: #7ab8ff } }
"""

SHOWN = (
    ("/classify", 1, "Label a text"),
    ("/classify", 5, "Label it by any names, without training"),
    ("/qa", 0, "Answer a question from a document"),
    ("/summarize", 1, "Find the sentence that says most"),
    ("/compare", 0, "The full model beside the small ones"),
)


def index() -> str:
    """The page at `/`."""
    calls = "\n".join(
        f"<h2>{escape(title)}</h2>\n<pre>{escape(curl(route, EXAMPLES[route][number]))}</pre>"
        for route, number, title in SHOWN
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Transfer</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>
<body><h1>Transfer</h1>
<p>One pretrained encoder, taught three jobs, made small, and served.
See <a href="docs">the routes</a>, <a href="models">the models</a>,
<a href="metrics">the metrics</a> or <a href="docs.json">the OpenAPI document</a>.</p>
{calls}
</body></html>
"""


def curl(route: str, body: dict[str, object]) -> str:
    """A call that can be pasted into a shell."""
    text = json.dumps(body, indent=1, ensure_ascii=False).replace("'", "'\\''")
    return (
        f"curl -s http://localhost:3000{route} \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d '{text}'"
    )


def docs() -> str:
    """Swagger UI over `/docs.json`, from the files that BentoML ships."""
    return """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Transfer: routes</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="static_content/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js" charset="UTF-8"></script>
<script>SwaggerUIBundle({ url: "docs.json", dom_id: "#swagger-ui", validatorUrl: null })</script>
</body></html>
"""
