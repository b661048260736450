"""The description of the consent register's HTTP API, as strict as what answers it."""

from typing import Any

from privacy.patients.consent import COVERS, DISEASE, EVERYTHING

_DAY = {"anyOf": [{"const": ""}, {"type": "string", "format": "date"}]}
_TERMS = {
    "purpose": {"enum": [*COVERS, EVERYTHING], "description": "DUO code; '*' in a denial of everything"},
    "decision": {"type": "string", "enum": ["permit", "deny"]},
    "disease": {"type": "string", "pattern": "^(MONDO:[0-9]{7})?$"},
    "studies": {"type": "array", "items": {"type": "string"}},
    "studies_denied": {"type": "array", "items": {"type": "string"}},
    "valid_from": _DAY,
    "valid_until": _DAY,
    "reason": {"type": "string"},
}


def _coupled(*, denies: bool) -> list[dict[str, Any]]:
    """What `Terms` asks of purpose, disease and decision together."""
    none = {"disease": {"const": ""}}
    everything = {"purpose": {"const": EVERYTHING}} | ({} if denies else {"decision": {"const": "deny"}})
    return [
        {
            "properties": {"purpose": {"enum": sorted(set(COVERS) - {DISEASE})}, **none},
            "required": ["purpose"],
        },
        {
            "properties": {"purpose": {"const": DISEASE}, "disease": {"pattern": "^MONDO:[0-9]{7}$"}},
            "required": ["purpose", "disease"],
        },
        {"properties": {**everything, **none}},
    ]


def openapi() -> dict[str, Any]:
    """The API, described as OpenAPI 3.1."""
    error = {
        "description": "refused",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }

    def answers(status: str, schema: str, *refusals: str) -> dict[str, Any]:
        good = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
        return {status: {"description": "done", "content": good}} | dict.fromkeys(
            ("401", "405", "411", "413", "421", "503", *refusals), error
        )

    def takes(schema: str, *, required: bool) -> dict[str, Any]:
        inside = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
        return {"required": required, "content": inside}

    place = {
        "name": "pseudonym",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
    revocation = {key: value for key, value in _TERMS.items() if key != "decision"}
    named = {"type": "object", "properties": {"pseudonym": {"type": "string"}}, "required": ["pseudonym"]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "wardround consent register", "version": "1"},
        "security": [{"token": []}],
        "paths": {
            "/consents": {
                "post": {
                    "requestBody": takes("Statement", required=True),
                    "responses": answers("201", "Named", "422"),
                }
            },
            "/consents/{pseudonym}": {
                "parameters": [place],
                "get": {"responses": answers("200", "Shown", "404")},
            },
            "/consents/{pseudonym}/revoke": {
                "parameters": [place],
                "post": {
                    "requestBody": takes("Revocation", required=False),
                    "responses": answers("201", "Named", "404", "422"),
                },
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Statement": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["patient", "purpose", "decision"],
                    "properties": {"patient": {"type": "string", "pattern": "\\S"}, **_TERMS},
                    "anyOf": _coupled(denies=False),
                },
                "Revocation": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": revocation,
                    "anyOf": _coupled(denies=True),
                },
                "Named": named,
                "Shown": {
                    "type": "object",
                    "properties": {"entries": {"type": "array"}},
                    "required": ["entries"],
                },
                "Error": {
                    "type": "object",
                    "properties": {"error": {"type": "string"}},
                    "required": ["error"],
                },
            },
        },
    }
