//! A folder to work in, a few digits of MNIST, and the tool.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A temporary folder in which the tool runs.
pub(crate) struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// One with `digits`: the first 600 training and 200 test images of MNIST as plain IDX files, and `seven.bmp`.
    pub(crate) fn with_digits() -> Self {
        let place = Self::new();
        let digits = place.path("digits");
        std::fs::create_dir(&digits).unwrap();
        for (name, count) in [("train", 600_usize), ("t10k", 200)] {
            let images = mnist(&format!("{name}-images-idx3-ubyte.gz"));
            let labels = mnist(&format!("{name}-labels-idx1-ubyte.gz"));
            let counted = |bytes: &[u8], header: usize, each: usize| {
                let mut part = bytes[..header + count * each].to_vec();
                part[4..8].copy_from_slice(&u32::try_from(count).unwrap().to_be_bytes());
                part
            };
            std::fs::write(digits.join(format!("{name}-images-idx3-ubyte")), counted(&images, 16, 784)).unwrap();
            std::fs::write(digits.join(format!("{name}-labels-idx1-ubyte")), counted(&labels, 8, 1)).unwrap();
            if name == "t10k" {
                std::fs::write(place.path("seven.bmp"), bmp(&images[16..16 + 784])).unwrap();
            }
        }
        place
    }

    /// A folder `name` with `train` and `test`, in each 12 images of the classes `dark` and `light`.
    pub(crate) fn image_folder(&self, name: &str) {
        for (split, class, grey) in
            [("train", "dark", 40), ("train", "light", 180), ("test", "dark", 50), ("test", "light", 190)]
        {
            let folder = self.path(name).join(split).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            for index in 0..12_u8 {
                std::fs::write(folder.join(format!("{index}.bmp")), bmp(&[grey + index; 784])).unwrap();
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the tool in the folder.
    pub(crate) fn run(&self, arguments: &str) -> Ran {
        self.run_args(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn run_args(&self, arguments: &[&str]) -> Ran {
        let output = tool().args(arguments).current_dir(self.folder.path()).output().unwrap();
        Ran { arguments: arguments.join(" "), output }
    }
}

/// The tool as a command, without colours or the caller's settings.
pub(crate) fn tool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_litesmith"));
    command.env("NO_COLOR", "1").env("COLUMNS", "100").stdin(std::process::Stdio::null());
    command
}

/// What a run printed, and how it ended.
pub(crate) struct Ran {
    arguments: String,
    output: Output,
}

impl Ran {
    /// Checks the exit status.
    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(
            self.output.status.code(),
            Some(status),
            "litesmith {}\n{}{}",
            self.arguments,
            self.stdout(),
            self.stderr()
        );
        self
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// The one line of JSON on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout()).unwrap_or_else(|error| panic!("{error}: {}", self.stdout()))
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn mnist(name: &str) -> Vec<u8> {
    let file = std::fs::File::open(root().join("data/mnist").join(name)).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A `.npy` file of `count` black images, float32 `[count, 28, 28]`.
pub(crate) fn npy(count: usize) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 28, 28), }}\n");
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    array.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    array.extend(header.as_bytes());
    array.resize(array.len() + count * 784 * 4, 0);
    array
}

/// 28 x 28 grey pixels as an uncompressed BMP of 24 bits, rows from the bottom.
fn bmp(pixels: &[u8]) -> Vec<u8> {
    let size = 54 + 28 * 28 * 3;
    let mut file = b"BM".to_vec();
    for number in [size, 0, 54, 40, 28, 28, 1 | 24 << 16, 0, 28 * 28 * 3, 2835, 2835, 0, 0_u32] {
        file.extend(number.to_le_bytes());
    }
    for row in pixels.chunks(28).rev() {
        file.extend(row.iter().flat_map(|&grey| [grey; 3]));
    }
    file
}
