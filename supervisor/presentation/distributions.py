"""What is to be installed for an import: the distributions whose names differ from those of their modules.

Owns that table. Any other distribution is assumed to be called as its top-level module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["DISTRIBUTIONS"]

DISTRIBUTIONS: Final[Mapping[str, str]] = {
    "airflow": "apache-airflow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dbt": "dbt-core",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "git": "gitpython",
    "github": "pygithub",
    "grpc": "grpcio",
    "hydra": "hydra-core",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "ldap": "python-ldap",
    "magic": "python-magic",
    "mysql": "mysql-connector-python",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "osgeo": "gdal",
    "PIL": "pillow",
    "pkg_resources": "setuptools<81",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "ruamel": "ruamel.yaml",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "snowflake": "snowflake-connector-python",
    "umap": "umap-learn",
    "websocket": "websocket-client",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""By the top-level module that is imported."""
