"""`docmill get`: a document of the cache as a file, as it is."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import uuid
from pathlib import Path

from docmill import targets
from docmill.cli.arguments import STANDARD_STREAM
from docmill.documents.cache import DocumentCache
from docmill.documents.publish import publish
from docmill.documents.uris import check_document_id, document_id_of
from docmill.settings import Settings


def run(arguments: argparse.Namespace) -> int:
    """Publish the document's bytes at the target, whole or not at all; `-` is standard output."""
    settings = Settings.from_env()
    document_id = document_id_of(arguments.document) or check_document_id(arguments.document)
    cache = DocumentCache(settings.cache_location, scratch=settings.scratch_dir)
    document = cache.get(document_id)
    with cache.open_local(document_id) as path:
        if arguments.target == STANDARD_STREAM:
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
            return 0
        target = arguments.target
        if targets.is_folder(target):
            target = targets.folder_of(target) + Path(document.name).name
        published = publish(
            [path],
            target,
            overwrite=arguments.overwrite,
            run_id=uuid.uuid4().hex,
            allow_non_atomic=settings.allow_non_atomic_publish,
        )
    print(json.dumps({"uri": published.uri, "size": published.size}) if arguments.json else published.uri)
    return 0
