"""Turn an API's own description (OpenAPI 3, Swagger 2) into operations.

`document` reads the bytes, `servers` says where the API is, `operations` lists what it can be
asked. Nothing outside the document is ever read.
"""

from tidegate.catalog.openapi.document import Document, read_document
from tidegate.catalog.openapi.operations import Api, read_operations

__all__ = ["Api", "Document", "read_document", "read_operations"]
