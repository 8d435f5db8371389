"""Errors of pictures that somebody brings to be processed.

CopperplateError
├── TooManyUploads            this process reads or holds as many uploads as it may; 503
└── InvalidRequest
    ├── InvalidParameter      a parameter of an operation out of its range, or unknown; 400
    ├── NoDirectUploads       the store has no addresses to upload to; 400
    ├── SourceNotFetched      the address of a picture may not be fetched, or answers none; 400
    └── InputUnavailable      what reading a picture to work on raises
        ├── InvalidPicture      what came is no whole picture, or has nothing to process; 400
        ├── UnsupportedPicture  a picture in a format that is not taken; 415
        ├── PictureTooLarge     more bytes, pixels or frames than are taken, or its result would have; 413
        └── SourceUnknown       the bytes of the picture are not here, or not for this caller; 404
"""

from __future__ import annotations

from copperplate.errors import CopperplateError, InvalidRequest


class InvalidParameter(InvalidRequest, code="invalid_parameter", title="A parameter of the operation is not valid"):
    """A parameter of an operation is out of its range, or the model has none of that name."""


class InputUnavailable(InvalidRequest):
    """A picture to work on cannot be had: one of its leaves says why. A generation that needs it ends without pause."""


class InvalidPicture(InputUnavailable, code="invalid_picture", title="The picture cannot be processed"):
    """What came is no whole picture, or is shaped so that nothing can be done with it."""


class UnsupportedPicture(
    InputUnavailable, code="unsupported_picture", status=415, title="The format of the picture is not taken"
):
    """The picture is in a format that is not taken: the message says in which to send it."""


class PictureTooLarge(InputUnavailable, code="picture_too_large", status=413, title="The picture is too large"):
    """The picture has more bytes, pixels or frames than are taken, or its result would have."""


class NoDirectUploads(InvalidRequest, code="no_direct_uploads", title="Pictures are not uploaded directly here"):
    """The store has no addresses that a caller could upload to: the file itself is sent."""


class SourceNotFetched(InvalidRequest, code="source_not_fetched", title="The picture cannot be fetched"):
    """Pictures are not fetched by address here, or this address may not be, or it does not answer a picture."""


class SourceUnknown(
    InputUnavailable, code="source_unknown", status=404, title="The picture to be processed is not known here"
):
    """The bytes are needed and are not here, or this caller may not use them: the answer is the same for both."""


class TooManyUploads(CopperplateError, code="too_many_uploads", status=503, title="Too many uploads at once"):
    """This process reads or holds as many uploads as it may."""

    retry_after_seconds = 5
