"""Read the metadata of .tflite files with TensorFlow Lite Support, the standard tool for it.

    compare_metadata.py MODEL...

One JSON line a model: its metadata, and each packed associated file with its text. Runs in an environment of its own.
"""

import ctypes
import json
import sys

import libusb_package

# The package's extension modules are linked against the system's libusb, which a bare machine lacks and reading
# metadata does not use: loading the wheel's copy first satisfies the linker.
ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)

from tflite_support import metadata  # noqa: E402  (needs the library above)


def main() -> None:
    for path in sys.argv[1:]:
        try:
            shown = metadata.MetadataDisplayer.with_model_file(path)
            files = {
                name: shown.get_associated_file_buffer(name).decode()
                for name in shown.get_packed_associated_file_list()
            }
            print(json.dumps({"metadata": json.loads(shown.get_metadata_json()), "files": files}))
        except Exception as error:  # the tool raises many types; each means that it could not read the file
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}))


if __name__ == "__main__":
    main()
