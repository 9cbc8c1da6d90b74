"""Image names as Go reads them: parsed, normalised, familiar; one at a time or a whole column at once.

:func:`parse` is nerdctl's own parser (protocols, CIDs, digests), :func:`parse_normalized`, :func:`parse_docker_ref`,
:func:`parse_named` and :func:`parse_any` are those of distribution/reference, :func:`parse_names` parses a column.
Errors are :class:`imgframe.errors.ReferenceError_`, whose attribute ``go`` is exactly Go's message.

Example:
    >>> from imgframe import reference
    >>> reference.parse("alpine@sha256:" + "0" * 64).familiar_string[:20]
    'alpine@sha256:000000'
"""

from imgframe.reference.grammar import Named, parse_any, parse_docker_ref, parse_named, parse_normalized
from imgframe.reference.names import Reference, list_ref, parse
from imgframe.reference.vectorised import NAME_SCHEMA, parse_names, parse_repo_tag, repo_tags

__all__ = [
    "NAME_SCHEMA",
    "Named",
    "Reference",
    "list_ref",
    "parse",
    "parse_any",
    "parse_docker_ref",
    "parse_named",
    "parse_names",
    "parse_normalized",
    "parse_repo_tag",
    "repo_tags",
]
