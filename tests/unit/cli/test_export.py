"""`milepost export` behind a proxy that compresses: the file is what the hub wrote."""

import gzip
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from milepost.cli.main import app
from milepost.domain.feed import DATASETS
from milepost.pipeline.export_formats import ParquetFile, arrow_schema, encoder_of

ROWS = [(n, f"ent_{n}", *([None] * (len(DATASETS["accounting"].columns) - 2))) for n in range(3)]


def _csv() -> bytes:
    encoder = encoder_of("csv", DATASETS["accounting"])
    return encoder.head() + encoder.encode(ROWS)


def _parquet() -> bytes:
    dataset = DATASETS["accounting"]
    file = ParquetFile(arrow_schema(dataset))
    return file.put(encoder_of("parquet", dataset).encode(ROWS)) + file.finish()


class Compressing(HTTPServer):
    """Answers with one piece, compressed whatever is asked for and of no stated length."""

    asked: list[str | None]


class _Answer(BaseHTTPRequestHandler):
    server: Compressing

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["accept-encoding"])
        body = _parquet() if "format=parquet" in self.path else _csv()
        self.send_response(200)
        headers = {
            "Milepost-At": "3",
            "Milepost-Until": "3",
            "Milepost-Rows": "3",
            "Content-Encoding": "gzip",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(gzip.compress(body))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Compressing]:
    server = Compressing(("127.0.0.1", 0), _Answer)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_what_a_proxy_compressed_is_written_as_it_was(
    proxy: Compressing, tmp_path: Path, format: str
) -> None:
    out = tmp_path / f"accounting.{format}"
    url = f"http://127.0.0.1:{proxy.server_port}"
    ran = CliRunner().invoke(app, ["export", "accounting", "--out", str(out), "--url", url])
    assert ran.exit_code == 0, ran.output
    assert proxy.asked == ["identity"]
    if format == "csv":
        assert out.read_bytes() == _csv()
    else:
        read = pq.ParquetFile(pa.BufferReader(out.read_bytes())).read()
        assert read == pq.ParquetFile(io.BytesIO(_parquet())).read()
    assert [file.name for file in tmp_path.iterdir()] == [out.name]
