"""The zoo: well-known public models by name, and the cache they are pulled into.

::

    from sightline.zoo import find, pull

    path = pull(find("osnet_x0_25_msmt17_combineall"))
"""

from __future__ import annotations

from sightline.zoo.bundled import BUNDLED, bundled
from sightline.zoo.catalog import CATALOG, ZooModel, find
from sightline.zoo.store import cache_dir, cached, pull, remove, verify

__all__ = ["BUNDLED", "CATALOG", "ZooModel", "bundled", "cache_dir", "cached", "find", "pull", "remove", "verify"]
