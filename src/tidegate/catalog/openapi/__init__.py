"""Turn an API's own description (OpenAPI 3, Swagger 2) into operations.

`document` reads the bytes, `servers` says where the API is, `operations` lists what it can be
asked; of operations that are to be checked, `describing` writes what their requests and answers look
like, with `schemas` in one form for all versions; `properties` says where a property stands in
requests. Nothing outside the document is ever read.
"""

from tidegate.catalog.openapi.described import Described
from tidegate.catalog.openapi.describing import describe
from tidegate.catalog.openapi.document import Document, read_document
from tidegate.catalog.openapi.operations import Api, read_operations
from tidegate.catalog.openapi.properties import NoPropertyError, places_of

__all__ = [
    "Api",
    "Described",
    "Document",
    "NoPropertyError",
    "describe",
    "places_of",
    "read_document",
    "read_operations",
]
