"""The part of the `aws` command that our pages use, on boto3: options by the service's model, `--query`, `--output`.

`python -m tests.deploy.aws_cli SERVICE OPERATION --option value …` calls the operation; AWS's own settings say where.
`cloudformation deploy` creates a stack with the template's own defaults. With AWS_CHECK_ONLY in the environment the
request is only checked against the service's model. What the real command does beyond that is not here.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3
import jmespath
from botocore import xform_name
from botocore.model import Shape
from botocore.validate import ParamValidator


def main(words: list[str]) -> None:
    service, operation, *rest = words
    options = _options(rest)
    query, output = options.pop("query", [None])[0], options.pop("output", ["json"])[0]
    client: Any = boto3.client(service, region_name=os.environ["AWS_REGION"])  # type: ignore[call-overload]
    if (service, operation) == ("cloudformation", "deploy"):
        print(json.dumps(_deploy(client, options)))
        return
    name = next(n for n in client.meta.service_model.operation_names if xform_name(n, "-") == operation)
    shape = client.meta.service_model.operation_model(name).input_shape
    members = {xform_name(member, "-"): member for member in shape.members}
    given = {members[o]: _value(values, shape.members[members[o]]) for o, values in options.items()}
    report = ParamValidator().validate(given, shape)
    if report.has_errors():
        raise SystemExit(report.generate_report())
    if "AWS_CHECK_ONLY" in os.environ:
        print(json.dumps(given, default=str))
        return
    answer = getattr(client, xform_name(name))(**given)
    answer.pop("ResponseMetadata", None)
    found = jmespath.search(query, answer) if query else answer
    if output == "text":
        print(*(found if isinstance(found, list) else [found]), sep="\t")
    else:
        print(json.dumps(found, default=str))


def _options(words: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            values = found.setdefault(word.removeprefix("--"), [])
        else:
            values.append(word)
    return found


def _value(values: list[str], shape: Shape | Any) -> Any:
    """What an option's words mean: JSON, the short form A=B,C=D, several words of a list, or one text."""
    if shape.type_name == "list" and not values[0].startswith(("[", "file://")):
        return [_value([value], shape.member) for value in values]
    (text,) = values
    if text.startswith("file://"):
        return json.loads(Path(text.removeprefix("file://")).read_text("utf-8"))
    if text.startswith(("{", "[")):
        return json.loads(text)
    if shape.type_name in ("structure", "map"):
        return dict(part.split("=", 1) for part in text.split(","))
    return {"integer": int, "boolean": lambda told: told == "true"}.get(shape.type_name, str)(text)


def _deploy(client: Any, options: dict[str, list[str]]) -> dict[str, str]:
    from tests.deploy.stack import create, outputs_of, template  # moto takes a second to load

    given = dict(pair.split("=", 1) for pair in options["parameter-overrides"])
    unknown = given.keys() - template()["Parameters"].keys()
    assert not unknown, unknown
    assert options["capabilities"] == ["CAPABILITY_IAM"]
    (name,), (path,) = options["stack-name"], options["template-file"]
    create(client, name, Path(path).read_text("utf-8"), given)
    return outputs_of(client, name)


if __name__ == "__main__":
    main(sys.argv[1:])
