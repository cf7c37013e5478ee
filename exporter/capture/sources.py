"""Which line of the user's code is running."""

from __future__ import annotations

import sys
import types

from exporter.capture.graph import Source

_OWN = ("/torch/", "/exporter/", "/onnxscript/", "<frozen", "<string>", "/contextlib.py", "/functools.py")


class Sources:
    """The part of the recorder that looks at the Python code above it."""

    def __init__(self) -> None:
        super().__init__()
        self._is_user: dict[types.CodeType, bool] = {}

    def source(self) -> Source | None:
        """The innermost line outside torch and this package."""
        frame = self.user_frame()
        return None if frame is None else Source(frame.f_code, frame.f_lineno)

    def user_frame(self) -> types.FrameType | None:
        """The innermost frame outside torch and this package."""
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            user = self._is_user.get(code)
            if user is None:
                user = self._is_user[code] = not any(part in code.co_filename for part in _OWN)
            if user:
                return frame
            frame = frame.f_back
        return None
