"""Why nothing came from the Hugging Face hub, and what to do about it."""

from collections.abc import Iterator
import errno
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.utils import get_session

_NETWORK = ('Check the network and HTTPS_PROXY, or copy the cache folder of a machine that has '
            'the weights')
_TOKENS = 'https://huggingface.co/settings/tokens'
# What to do about the answers of a server, by their status.
_STATUS = {
    403: 'The owner of these weights wants to be asked: log in on their page, accept the terms, '
         'then run `hf auth login` with a token of the same user',
    404: 'The hub has no such file any more: look for it on its page, or update open_clip',
    407: 'The proxy wants a name and a password: put them into HTTPS_PROXY',
    429: 'The hub has had too many requests from this address: wait, or run `hf auth login`',
}
_STORAGE = {errno.ENOSPC: 'no room is left', errno.EDQUOT: 'the quota is used up',
            errno.EACCES: 'it may not be written', errno.EROFS: 'it may not be written'}


class Unreachable(Exception):
    """The hub cannot be reached at all; the message is the reason."""


def check_reachable() -> None:
    """
    Raise Unreachable if the hub does not answer; what it answers is no matter.

    Its client tries each of several files again and again, for a minute in all.
    """
    if constants.HF_HUB_OFFLINE:
        raise Unreachable('HF_HUB_OFFLINE forbids it')
    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:  # noqa: B902 - the client has changed its transport twice
        raise Unreachable(f'{constants.ENDPOINT} cannot be reached: {error}') from error


def remedy(error: BaseException, folder: Path | None = None) -> str:
    """
    Return what to do about a download that failed, a sentence without its full stop.

    `folder` is where csa_ros itself put it, None if the hub's client did into its own cache.
    """
    if constants.HF_HUB_OFFLINE:
        return ('Nothing is fetched while HF_HUB_OFFLINE is set: unset it, and '
                'TRANSFORMERS_OFFLINE likewise, or copy the cache folder of a machine that has '
                'the weights')
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in _STORAGE:
            cache, variable = ((constants.HF_HUB_CACHE, 'HF_HOME') if folder is None
                               else (folder, 'XDG_CACHE_HOME'))
            return (f'The cache folder {cache} is the trouble, {_STORAGE[cause.errno]}: make room '
                    f'or name another one with {variable}')
        if 'CERTIFICATE_VERIFY_FAILED' in str(cause):
            return ('The certificate of the server or of a proxy in between is not trusted: name '
                    'the file with its authority in SSL_CERT_FILE and REQUESTS_CA_BUNDLE, and see '
                    'that the clock of this machine is right')
        status = getattr(getattr(cause, 'response', None), 'status_code', None)
        if status == 401:
            return _unauthorized()
        if isinstance(status, int) and status >= 500:
            return f'The hub is out of order (status {status}): try again later'
        if status in _STATUS:
            return _STATUS[status]
    return _NETWORK


def _unauthorized() -> str:
    if huggingface_hub.get_token():
        return ('The hub does not accept the token of this machine, which may have expired: make '
                f'another one at {_TOKENS} and run `hf auth login`, or, as most weights need '
                'none, `hf auth logout` and unset HF_TOKEN')
    return ('The hub has no such repository for everyone: if it is private or gated, make a token '
            f'at {_TOKENS} and run `hf auth login`')


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it, which libraries hide behind others."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
