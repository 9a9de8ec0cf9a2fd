"""The page for people: a pod in, what would become of it out. Plain HTML, no script, nothing fetched from elsewhere."""

from html import escape
from urllib.parse import parse_qs

from webhook import report
from webhook.diff import diff
from webhook.manifest import read
from webhook.review import Decision
from webhook.settings import Settings
from webhook.shape import Malformed
from webhook.workload import review_all

EXAMPLE = """\
apiVersion: v1
kind: Pod
metadata:
  name: testpmd
  annotations:
    dpdk: "true"
    dpdk/hugepages-1Gi: "2Gi"
spec:
  containers:
    - name: testpmd
      image: example.com/testpmd
      resources:
        limits:
          cpu: 1500m
          memory: 1Gi
"""

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>dpdk-webhook</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }}
textarea, pre {{ font: 14px/1.4 ui-monospace, monospace; width: 100%; box-sizing: border-box; padding: .8rem }}
pre {{ background: #f6f6f4; white-space: pre-wrap; overflow-wrap: anywhere }}
ins {{ background: #d9f2dc; text-decoration: none }}
del {{ background: #f8dcd9; text-decoration: none }}
button {{ font: inherit; padding: .3rem 1.2rem; margin: .5rem 0 }}
</style>
<h1>What would become of this pod?</h1>
<form method="post" action="/">
<label for="pod">Pods and workloads, YAML or JSON. Nothing is created; the same rules answer as at admission.</label>
<textarea id="pod" name="pod" rows="18" spellcheck="false">{pod}</textarea>
<button>Review</button>
</form>
{answer}
<p>For programs: <code>POST /dry-run</code>, <code>GET <a href="/rules">/rules</a></code>,
<a href="/openapi.json">openapi.json</a>.</p>
</html>
"""


def render(pod: str, answer: str = "") -> str:
    """The page, with a pod in its field and an answer (HTML) below it."""
    # a browser drops the first line break behind <textarea>
    return _PAGE.format(pod="\n" + escape(pod), answer=answer)


def answer(form: bytes, settings: Settings) -> str:
    """The page that answers a submitted form (application/x-www-form-urlencoded, field `pod`)."""
    text = parse_qs(form.decode("ascii", "replace"), keep_blank_values=True).get("pod", [""])[0]
    try:
        reviewed = review_all(read(text.encode()), settings)
    except Malformed as error:
        return render(text, f"<h2>Not a pod</h2><pre>{escape(str(error))}</pre>")
    parts: list[str] = []
    for each in reviewed:
        for subject, decision in zip(each.subjects, each.decisions, strict=True):
            of = "" if subject.kind == "Pod" else f": {subject.kind} {subject.name}"
            parts.append(f"<h2>{escape(_verdict(decision) + of)}</h2>")
            findings = "\n".join(report.findings(decision))
            parts.append(f"<pre>{escape(findings)}</pre>" if findings else "")
        if each.subjects:
            lines = diff(each.given, *each.decisions).splitlines()
            parts.append("<pre>" + "\n".join(_line(line) for line in lines) + "</pre>")
    return render(text, "\n".join(parts))


def _verdict(decision: Decision) -> str:
    if not decision.is_promised:
        return 'Left alone: no annotation dpdk: "true"'
    if not decision.allowed:
        return "Refused"
    return "Allowed" if decision.changes else "Allowed as it is"


def _line(line: str) -> str:
    tag = {"+": "ins", "-": "del"}.get(line[:1])
    return f"<{tag}>{escape(line)}</{tag}>" if tag else escape(line)
