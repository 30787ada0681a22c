# SPDX-License-Identifier: Apache-2.0
"""Further places of values, written when the rules were done: a first measure of them was one of unseen places."""

import base64
import json
import urllib.parse

from . import carriers as c


def in_graphql(rng, name, value):
    data = {
        "operationName": "Save",
        "query": "mutation Save($input: Input!) { save(input: $input) { id } }",
        "variables": {"input": {name: value, "id": rng.randrange(999)}},
    }
    return c.both_ways(rng, json.dumps(data), "application/json")


def in_lines_of_json(rng, name, value):
    lines = [c.noise(rng), {**c.noise(rng), name: value}, c.noise(rng)]
    return c.both_ways(rng, "".join(json.dumps(line) + "\n" for line in lines), "application/x-ndjson")


def in_ini(rng, name, value):
    spaces = rng.choice([" = ", "=", ": "])
    text = f"[app]\ndebug{spaces}false\n{name}{spaces}{value}\nport{spaces}{rng.randrange(1024, 9999)}\n"
    return c.both_ways(rng, text, "text/plain")


def in_toml(rng, name, value):
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    text = f'[service]\nworkers = {rng.randrange(9)}\n"{name}" = "{value}"\nhosts = ["a", "b"]\n'
    return c.both_ways(rng, text, "application/toml")


def in_php(rng, name, value):
    value = value.replace("\\", "\\\\").replace("'", "\\'")
    lines = ["'debug' => false", f"'{name}' => '{value}'", f"'port' => {rng.randrange(9999)}"]
    text = "<?php\nreturn [\n" + "".join(f"    {line},\n" for line in lines) + "];\n"
    return c.both_ways(rng, text, "text/plain")


def in_python(rng, name, value):
    text = f"{{'retries': {rng.randrange(9)}, '{name}': {value!r}, 'verify': True}}"
    return c.both_ways(rng, text, "text/plain")


def in_input(rng, name, value):
    value = value.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    field = f'<input type="hidden" name="{name}" value="{value}">'
    text = f'<form><input type="text" name="q">{field}<button>Go</button></form>'
    return {
        "request": c.request(rng),
        "response": c.response(rng, body=f"<html>{text}</html>".encode(), kind="text/html"),
    }


def in_pairs(rng, name, value):
    pairs = [{"name": "lang", "value": "en"}, {"name": name, "value": value}, {"name": "n", "value": "3"}]
    rng.shuffle(pairs)
    return c.both_ways(rng, c.dumps(rng, {"env": pairs}), "application/json")


def in_twice_encoded_query(rng, name, value):
    inner = "https://app.fleet-metrics.com/cb?" + urllib.parse.urlencode([("a", "1"), (name, value)])
    outer = "https://portal.city-library.org/r?to=" + urllib.parse.quote(inner, safe="")
    target = "/out?u=" + urllib.parse.quote(outer, safe="")
    return {"request": c.request(rng, target=target), "response": c.response(rng)}


def in_base64_of_query(rng, name, value):
    inner = base64.urlsafe_b64encode(urllib.parse.urlencode([("v", "2"), (name, value), ("z", "1")]).encode()).decode()
    return {"request": c.request(rng, headers=[("X-State", inner.rstrip("="))]), "response": c.response(rng)}


def in_answer_to_form(rng, name, value):
    """An access token as RFC 6749 4.2.2 and old services send it."""
    body = urllib.parse.urlencode([("expires", "3600"), (name, value), ("scope", "read")]).encode()
    return {"request": c.request(rng), "response": c.response(rng, body=body, kind="application/x-www-form-urlencoded")}


def in_referer(rng, name, value):
    url = "https://app.fleet-metrics.com/page?" + urllib.parse.urlencode([("tab", "2"), (name, value)])
    return {"request": c.request(rng, headers=[("Referer", url)]), "response": c.response(rng)}


def in_soap(rng, name, value):
    value = value.replace("&", "&amp;").replace("<", "&lt;")
    name = name.replace("[", ".").replace("]", "")
    text = (
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><ns1:Call xmlns:ns1="urn:a">'
        f'<ns1:{name} xsi:type="xsd:string">{value}</ns1:{name}><ns1:n>2</ns1:n></ns1:Call></soap:Body></soap:Envelope>'
    )
    return {"request": c.request(rng, body=text.encode(), kind="text/xml"), "response": c.response(rng)}


def in_table(rng, _name, value):
    rows = "".join(f"{rng.randrange(999)},{rng.choice(c.WORDS)},{cell}\n" for cell in ("a", value, "b"))
    return c.both_ways(rng, "id,word,cell\n" + rows, "text/csv")


def in_markdown(rng, _name, value):
    text = f"## Setup\n\n{c.words(rng, 6)} `{value}`, {c.words(rng, 5)} ({value}).\n"
    return c.in_json(rng, "body", text)


def in_command(rng, _name, value):
    text = f"$ deploy --region eu --auth {value} --verbose\nok in {rng.randrange(99)} s\n"
    return c.both_ways(rng, text, "text/plain")


ANYWHERE_MORE = [
    in_graphql,
    in_lines_of_json,
    in_ini,
    in_toml,
    in_php,
    in_python,
    in_input,
    in_pairs,
    in_twice_encoded_query,
    in_base64_of_query,
    in_answer_to_form,
    in_referer,
    in_soap,
    in_table,
    in_markdown,
    in_command,
]
NAMED_MORE = ANYWHERE_MORE[:13]
# Where a value must not need quotes.
BARE_MORE = [in_ini]
