"""
Ranges of files of the Hugging Face hub, together under one progress bar.

What was fetched before an interruption is kept, and the next try goes on from there. The hub's
client fetches whole files: of a large one, of which a part is wanted, that takes longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import shutil

from csa_ros.model.errors import ModelError
from csa_ros.model.weights import files
from huggingface_hub import constants
from huggingface_hub import HfFileSystem
from huggingface_hub import HfFileSystemFile
from tqdm import tqdm

# Of one request to the hub.
CHUNK = 16 * 2**20
# Of safetensors: the length of the header, and what the header is a multiple of.
_LENGTH, _ALIGNED = 8, 8


@dataclass(frozen=True)
class Piece:
    """
    The bytes from `start` up to `stop` of a file of the hub, which go to `path` after `head`.

    `address` is repository and path, joined by a slash; `sha256` is of the result, '' if nobody
    knows it.
    """

    address: str
    start: int
    stop: int
    path: Path
    head: bytes = b''
    sha256: str = ''

    @property
    def size(self) -> int:
        """Bytes of the result."""
        return len(self.head) + self.stop - self.start

    @property
    def here(self) -> int:
        """Bytes of it that are on this machine."""
        return min(self.path.stat().st_size, self.size) if self.path.is_file() else 0


class Hub:
    """The hub, as the errors of its client have it: they pass through."""

    def __init__(self) -> None:
        # Its listings are kept in the instance, and instances by fsspec: the hub may have changed.
        self._files = HfFileSystem(endpoint=constants.ENDPOINT, skip_instance_cache=True)

    def whole(self, file: tuple[str, str], folder: Path) -> Piece:
        """Return a whole file (repository, path) as a piece that goes to a folder."""
        address = '/'.join(file)
        info = self._files.info(address)
        digest = (info.get('lfs') or {}).get('sha256', '')
        return Piece(address, 0, info['size'], _place(folder, file, info), sha256=digest)

    def tensors(self, file: tuple[str, str], prefix: str, folder: Path) -> Piece:
        """
        Return the part of a safetensors file in which the tensors lie whose names begin so.

        It is a safetensors file as well. What lies between them comes along: as a rule nothing,
        for they are sorted by name. Raises ModelError if the file has none.
        """
        address = '/'.join(file)
        with self._open(address) as source:
            length = int.from_bytes(source.read(_LENGTH), 'little')
            header = json.loads(source.read(length))
        header.pop('__metadata__', None)
        spans = [entry['data_offsets'] for name, entry in header.items()
                 if name.startswith(prefix)]
        if not spans:
            raise ModelError(f'{address} of the Hugging Face hub holds no tensor {prefix}*: it is '
                             'another file than it was. Look for a newer csa_ros')
        first, last = min(start for start, _ in spans), max(stop for _, stop in spans)
        kept = {name: {**entry, 'data_offsets': [offset - first for offset in span]}
                for name, entry in header.items()
                if first <= (span := entry['data_offsets'])[0] and span[1] <= last}
        text = json.dumps(kept).encode()
        text += b' ' * (-len(text) % _ALIGNED)
        data = _LENGTH + length
        return Piece(address, data + first, data + last,
                     _place(folder, file, self._files.info(address)),
                     head=len(text).to_bytes(_LENGTH, 'little') + text)

    def fetch(self, pieces: Sequence[Piece], what: str) -> None:
        """
        Fetch what is missing of some pieces.

        Raises ModelError if a piece is not what the hub says that it is; it is removed then.
        """
        with tqdm(total=sum(piece.size for piece in pieces), desc=what, unit='B', unit_scale=True,
                  initial=sum(piece.here for piece in pieces), disable=None) as bar:
            for piece in pieces:
                self._fetch(piece, bar)
        for piece in pieces:
            if piece.sha256 and files.sha256(piece.path) != piece.sha256:
                piece.path.unlink()
                raise ModelError(f'{piece.address} was damaged on its way here, and removed: '
                                 'fetch it again')

    def _fetch(self, piece: Piece, bar: tqdm) -> None:
        with piece.path.open('ab') as target, self._open(piece.address) as source:
            if target.tell() < len(piece.head):
                target.truncate(0)
                target.write(piece.head)
                bar.update(len(piece.head))
            while target.tell() < piece.size:
                source.seek(piece.start + target.tell() - len(piece.head))
                data = source.read(min(CHUNK, piece.size - target.tell()))
                if not data:
                    raise ModelError(f'{piece.address} of the Hugging Face hub ends before its '
                                     'end: try again later')
                target.write(data)
                bar.update(len(data))

    def _open(self, address: str) -> HfFileSystemFile:
        # Nothing is read twice, and what comes next is known.
        return self._files.open(address, 'rb', block_size=CHUNK, cache_type='none')


def check_room(folder: Path, size: int, what: str) -> None:
    """Raise ModelError if a folder's disk has less room than so many bytes."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ModelError(f'{what} takes {size / 1e9:.1f} GB in {folder} while it is fetched, and '
                         f'{free / 1e9:.1f} GB are free: make room, or name another folder with '
                         'XDG_CACHE_HOME')


def _place(folder: Path, file: tuple[str, str], info: dict) -> Path:
    """Return where a file goes: another one where the hub has changed it in between."""
    version = (info.get('lfs') or {}).get('sha256') or info.get('blob_id') or info['size']
    return folder / f'{str(version)[:12]}_{Path(file[1]).name}'
