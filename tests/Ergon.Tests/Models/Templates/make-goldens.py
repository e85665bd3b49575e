#!/usr/bin/env python3
"""Renders fixtures/ with the real jinja2, set up as transformers' apply_chat_template does.

    apt-get install python3-jinja2
    /usr/bin/python3 tests/Ergon.Tests/Models/Templates/make-goldens.py

reads   fixtures/*.jinja, conversations.json, snippets.txt
writes  goldens/<template>.json  {conversation: {"text": ...} or {"error": ...}}
        snippets.json            [{"source", "text" or "error": true}]
An error's text is kept only where the template raised it itself (raise_exception).
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
HERE = HERE if HERE.is_dir() else HERE.parent
NOW = datetime.datetime(2026, 3, 7, 9, 5, 2)


class Refused(Exception):
    pass


class Generation(jinja2.ext.Extension):
    """{% generation %} prints its body, in a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise Refused(message)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: NOW.strftime(form)
    return env


def render(source, variables):
    try:
        return {"text": environment().from_string(source).render(**variables)}
    except Refused as refusal:
        return {"error": str(refusal)}
    except Exception as failure:
        print(f"  {type(failure).__name__}: {failure}"[:150], file=sys.stderr)
        return {"error": ""}


def write(path, data):
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main():
    conversations = json.loads((HERE / "conversations.json").read_text())
    (HERE / "goldens").mkdir(exist_ok=True)
    for template in sorted((HERE / "fixtures").glob("*.jinja")):
        source = template.read_bytes().decode()
        goldens = {}
        for name, conversation in conversations.items():
            print(template.stem, name, file=sys.stderr)
            variables = {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>"}
            goldens[name] = render(source, variables | conversation)
        write(HERE / "goldens" / f"{template.stem}.json", goldens)

    snippets = []
    for source in (HERE / "snippets.txt").read_text().splitlines():
        if not source or source.startswith("##"):
            continue
        source = source.replace("⏎", "\n")
        result = render(source, conversations["tools"] | {"bos_token": "<s>", "eos_token": "</s>"})
        snippets.append({"source": source} | ({"text": result["text"]} if "text" in result else {"error": True}))
    write(HERE / "snippets.json", snippets)


main()
