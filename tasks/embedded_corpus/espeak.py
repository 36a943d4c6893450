"""espeak-ng in a process of its own: sentences in on stdin, waveforms out on stdout.

Run as a script, with the standard library only, so that it starts in some tens of milliseconds. A process speaks one
batch and ends, because espeak-ng carries state (flutter, noise) from one utterance to the next: in a new process the
same batch gives the same bytes.

In: JSON {"library": path, "data": folder that holds espeak-ng-data, "utterances": [[voice, rate_wpm, pitch, text]]}.
Out: sample rate, then for each utterance its number of samples and its int16 samples; numbers are native uint32.
"""

import ctypes
import json
import os
import struct
import sys
from collections.abc import Iterable

_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_RATE, _VOLUME, _PITCH = 1, 2, 3
_UTF8 = 1
_VOLUME_PERCENT = 60
"""Of 100: at 100 some voices run into espeak-ng's own limiter."""
_SEED = 1

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Failure(Exception):
    """espeak-ng cannot do what was asked; the message says why."""


class Synthesizer:
    """The library, loaded and told where its data are. One a process: it is neither thread-safe nor reentrant."""

    def __init__(self, library: str, data: str):
        self._library = ctypes.CDLL(library)
        self._library.espeak_Info.restype = ctypes.c_char_p
        self._library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        self.sample_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DONT_EXIT)
        found = ctypes.c_char_p()
        self._library.espeak_Info(ctypes.byref(found))
        # It falls back in silence on a folder compiled into it when the path is too long or holds no data.
        home = os.fsdecode(found.value or b"")
        if self.sample_rate <= 0 or not os.path.isdir(home) or not os.path.samefile(os.path.dirname(home), data):
            raise Failure(f"espeak-ng was given its data in {data!r} and looks for them in {home!r}")
        self._library.espeak_ng_SetRandSeed(_SEED)
        self._pieces: list[bytes] = []
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, voice: str, rate_wpm: int, pitch: int, text: str) -> bytes:
        """int16 samples at `sample_rate`."""
        # An unknown variant is not an error to espeak-ng: it speaks without it.
        variant = os.path.join(self._data(), "voices", "!v", voice.partition("+")[2])
        if self._library.espeak_SetVoiceByName(voice.encode()) or not os.path.exists(variant):
            raise Failure(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((_RATE, rate_wpm), (_VOLUME, _VOLUME_PERCENT), (_PITCH, pitch)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._pieces.clear()
        encoded = text.encode()
        if self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _UTF8, None, None):
            raise Failure(f"espeak-ng could not speak {text!r} with voice {voice!r}")
        self._library.espeak_Synchronize()
        return b"".join(self._pieces)

    def _data(self) -> str:
        found = ctypes.c_char_p()
        self._library.espeak_Info(ctypes.byref(found))
        return os.fsdecode(found.value or b"")

    def _receive(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, 2 * count))
        return 0


def speak_all(job: dict) -> Iterable[bytes]:
    """The answer to a job, piece by piece."""
    synthesizer = Synthesizer(job["library"], job["data"])
    utterances = job["utterances"]
    spoken = {}
    # By voice: to change the voice is what costs.
    for i in sorted(range(len(utterances)), key=lambda i: (utterances[i][0], i)):
        spoken[i] = synthesizer.speak(*utterances[i])
    yield struct.pack("=I", synthesizer.sample_rate)
    for i in range(len(utterances)):
        yield struct.pack("=I", len(spoken[i]) // 2)
        yield spoken[i]


def main() -> int:
    """One job. Returns the exit status: 0, or 1 with the reason on stderr."""
    try:
        for piece in speak_all(json.load(sys.stdin)):
            sys.stdout.buffer.write(piece)
    except (Failure, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
