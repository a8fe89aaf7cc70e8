"""What FHIR adds to FHIRPath (FHIR R4 fhirpath.html#functions)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fhir.fhirpath.environment import Context, Environment, root_resource
from fhir.fhirpath.functions.function import Arguments, Function
from fhir.fhirpath.items import Collection, Item, Json, members, resource_item, system_value
from fhir.fhirpath.operators import wrap
from fhir.fhirpath.singleton import text
from fhir.model.narrative import problems_of
from fhir.model.validation.definitions import resource_types


def _extension(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    url = text(arguments[0](environment))
    extensions = (
        extension
        for item in items
        if type(item) is Item
        for child in item.kind.by_name.get("extension", ())
        for extension in members(item, child)
    )
    return [e for e in extensions if type(e.value) is dict and e.value.get("url") == url]


def _has_value(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
    if len(items) != 1:
        return [False]
    (item,) = items
    return [type(item) is not Item or (item.kind.is_primitive and item.value is not None)]


def _get_value(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
    if len(items) == 1 and type(items[0]) is Item and items[0].kind.is_primitive:
        return wrap(system_value(items[0]))
    return []


def _html_checks(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
    return [not problems_of(str(text([item]))) for item in items[:1]]


def _resolve(items: Collection, environment: Environment, _arguments: Arguments) -> Collection:
    environment.spend(len(items))
    return [found for item in items for found in _resolve_one(item, environment.context)]


def _resolve_one(item: Any, context: Context) -> Iterator[Item]:
    url, stated_type = _reference(item)
    if url is None:
        return
    found = _within(item, url) if type(item) is Item else None
    if found is None and context.resolve is not None and not url.startswith("#"):
        resource = context.resolve(url)
        found = None if resource is None else resource_item(resource)
    if found is None and context.stub_references:
        found = _stub(url, stated_type)
    if found is not None:
        yield found


def _reference(item: Any) -> tuple[str | None, Json]:
    raw = item.value if type(item) is Item else item
    if type(raw) is dict:
        url = raw.get("reference")
        return (url if type(url) is str else None), raw.get("type")
    return (raw if type(raw) is str else None), None


def _within(item: Item, url: str) -> Item | None:
    """The resource that a reference names in the same resource, or in the Bundle around it."""
    if url.startswith("#"):
        roots = root_resource(item)
        if url == "#":
            return roots[0] if roots else None
        contained = (c for root in roots for c in _of(root, "contained"))
        return next((c for c in contained if type(c.value) is dict and c.value.get("id") == url[1:]), None)
    bundle = item.root()
    if bundle.kind.name != "Bundle":
        return None
    for entry in _of(bundle, "entry"):
        full_url = entry.value.get("fullUrl") if type(entry.value) is dict else None
        if type(full_url) is str and (full_url == url or (":" not in url and full_url.endswith("/" + url))):
            return next(_of(entry, "resource"), None)
    return None


def _of(item: Item, name: str) -> Iterator[Item]:
    for child in item.kind.by_name.get(name, ()):
        yield from members(item, child)


def _stub(url: str, stated_type: Json) -> Item | None:
    steps = url.partition("/_history/")[0].split("/")
    named = steps[-2] if len(steps) > 1 else stated_type
    if type(named) is not str or named not in resource_types():
        named = stated_type
    if type(named) is not str or named not in resource_types():
        return None
    return resource_item({"resourceType": named, "id": steps[-1]})


def _asked(ask: Callable[[Context], Callable[[Item, str], bool | None] | None]) -> Function:
    def implementation(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
        answer, url = ask(environment.context), text(arguments[0](environment))
        if answer is None or url is None or len(items) != 1 or type(items[0]) is not Item:
            return []
        return wrap(answer(items[0], url))

    return Function(implementation, 1, 1)


FUNCTIONS: Mapping[str, Function] = {
    "extension": Function(_extension, 1, 1),
    "hasValue": Function(_has_value),
    "getValue": Function(_get_value),
    "htmlChecks": Function(_html_checks),
    "resolve": Function(_resolve),
    "memberOf": _asked(lambda context: context.member_of),
    "conformsTo": _asked(lambda context: context.conforms_to),
}
