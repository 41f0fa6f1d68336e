//! Every format, whole and broken: files are made here, in temporary folders.

use std::io::Write;
use std::path::{Path, PathBuf};

use litesmith_data::{
    Batch, Dataset, Image, ImageLimits, ImageShape, Loader, LoaderConfig, OpenOptions, Pixels, Preprocess, Split,
    SplitKind, Target, decode_image, load_image, load_npy, open, preprocess, read_npy,
};
use litesmith_graph::{Error, Result};
use proptest::prelude::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn spec(&self, prefix: &str) -> String {
        format!("{prefix}:{}", self.0.path().display())
    }
}

fn open_plain(spec: &str) -> Result<Dataset> {
    open(spec, &OpenOptions::default())
}

fn open_skipping(spec: &str) -> Result<Dataset> {
    open(spec, &OpenOptions { skip_bad: true, ..OpenOptions::default() })
}

/// The error of opening or, where opening says nothing, of reading all samples.
fn failure(spec: &str) -> Error {
    match open_plain(spec) {
        Err(error) => error,
        Ok(dataset) => SplitKind::ALL
            .into_iter()
            .filter_map(|kind| dataset.split(kind))
            .flat_map(|split| (0..split.len()).filter_map(|i| split.get(i).err()))
            .next()
            .expect("an error"),
    }
}

fn says(error: &Error, parts: &[&str]) {
    let text = format!("{error} | {}", error.hint().unwrap_or_default());
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

fn floats(split: &Split, index: usize) -> Vec<f32> {
    match split.get(index).unwrap().image.pixels() {
        Pixels::U8(values) => values.iter().map(|&v| f32::from(v)).collect(),
        Pixels::F32(values) => values.clone(),
    }
}

fn idx(code: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy_with(descr, "False", shape, data)
}

fn npy_with(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip(entries: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn png(height: u32, width: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb(pixel(y, x)));
    encode(&image.into(), image::ImageFormat::Png)
}

fn encode(image: &image::DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn idx_files_of_every_type_are_read_plain_and_gzipped() {
    let cases: [(u8, Vec<u8>, [f32; 4]); 6] = [
        (0x08, vec![0, 1, 128, 255], [0.0, 1.0, 128.0, 255.0]),
        (0x09, vec![0, 1, 128, 255], [0.0, 1.0, -128.0, -1.0]),
        (0x0b, [0i16, 1, -300, 32_767].iter().flat_map(|v| v.to_be_bytes()).collect(), [0.0, 1.0, -300.0, 32_767.0]),
        (
            0x0c,
            [0i32, 1, -70_000, 1 << 20].iter().flat_map(|v| v.to_be_bytes()).collect(),
            [0.0, 1.0, -70_000.0, 1_048_576.0],
        ),
        (0x0d, [0.0f32, 1.5, -2.25, 1e9].iter().flat_map(|v| v.to_be_bytes()).collect(), [0.0, 1.5, -2.25, 1e9]),
        (0x0e, [0.0f64, 1.5, -2.25, 1e9].iter().flat_map(|v| v.to_be_bytes()).collect(), [0.0, 1.5, -2.25, 1e9]),
    ];
    for (code, data, expected) in cases {
        let folder = Folder::new();
        let content = idx(code, &[2, 1, 2], &data);
        let labels = folder.write("labels", idx(0x0c, &[2], &[0, 0, 0, 2, 0, 0, 0, 0]));
        for images in [folder.write("plain", &content), folder.write("zipped", gzip(&content))] {
            let dataset = open_plain(&format!("idx:{images},{labels}")).unwrap();
            let train = dataset.require(SplitKind::Train).unwrap();
            assert_eq!(train.shape(), Some(ImageShape::new(1, 2, 1)));
            assert_eq!([floats(train, 0), floats(train, 1)].concat(), expected, "element type {code:02x}");
            assert_eq!(train.labels().collect::<Vec<_>>(), [2, 0]);
            assert_eq!(train.classes(), ["0", "1", "2"]);
            assert_eq!(train.is_bytes(), code == 0x08);
        }
    }
}

#[test]
fn broken_idx_files_say_file_and_byte() {
    let folder = Folder::new();
    let labels = folder.write("labels", idx(0x08, &[2], &[1, 0]));
    let images = folder.write("images", idx(0x08, &[2, 2, 2], &[0; 8]));
    let three = folder.write("three", idx(0x08, &[3], &[1, 0, 1]));
    says(&failure(&format!("idx:{images},{three}")), &["images", "got 2 images, but 3 labels", "three"]);
    let cut = folder.write("cut", idx(0x08, &[2, 2, 2], &[0; 7]));
    says(&failure(&format!("idx:{cut},{labels}")), &["cut: byte 23", "got 23 bytes, expected 24"]);
    let long = folder.write("long", idx(0x08, &[2, 2, 2], &[0; 9]));
    says(&failure(&format!("idx:{long},{labels}")), &["long: byte 24", "follow"]);
    let magic = folder.write("magic", b"\x89PNG....");
    says(&failure(&format!("idx:{magic},{labels}")), &["magic: byte 0", "89 50"]);
    let kind = folder.write("kind", idx(0x0f, &[2], &[0; 2]));
    says(&failure(&format!("idx:{kind},{labels}")), &["kind: byte 2", "0f"]);
    let huge = folder.write("huge", idx(0x08, &[u32::MAX, u32::MAX], &[]));
    says(&failure(&format!("idx:{huge},{labels}")), &["huge", "byte 4", "more than any file holds"]);
    let huge_gz = folder.write("huge.gz", gzip(&idx(0x0e, &[u32::MAX, 1 << 16], &[])));
    says(&failure(&format!("idx:{huge_gz},{labels}")), &["huge.gz", "more than", "compressed bytes can hold"]);
    let negative = folder.write("negative", idx(0x09, &[2], &[1, 0xff]));
    says(&failure(&format!("idx:{images},{negative}")), &["negative row 1, byte 9", "got label -1"]);
    let options = OpenOptions { classes: Some(vec!["a".into()]), ..OpenOptions::default() };
    says(&open(&format!("idx:{images},{labels}"), &options).unwrap_err(), &["labels row 0", "got label 1", "0 to 0"]);
    let far = folder.write("far", idx(0x0c, &[2], &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
    says(&failure(&format!("idx:{images},{far}")), &["far row 0", "2147483647", "65536"]);
    says(&failure(&format!("idx:{}", folder.path("absent").display())), &["absent", "train-images"]);
    says(&failure(&format!("idx:{images},{}", folder.0.path().display())), &["folder, expected a file"]);
    says(&failure(&format!("idx:{images}")), &["images"]);
    let none = folder.write("none", idx(0x08, &[0, 2, 2], &[]));
    let no_labels = folder.write("no_labels", idx(0x08, &[0], &[]));
    says(&failure(&format!("idx:{none},{no_labels}")), &["none", "no samples"]);
}

#[test]
fn decompressing_stops_at_the_declared_size_and_at_the_limit() {
    let folder = Folder::new();
    let labels = folder.write("labels", idx(0x08, &[2], &[1, 0]));
    let mut bomb = idx(0x08, &[2, 2, 2], &[0; 8]);
    bomb.resize(64 << 20, 0);
    let bomb = folder.write("bomb.gz", gzip(&bomb));
    says(&failure(&format!("idx:{bomb},{labels}")), &["bomb.gz", "byte 24", "follow"]);
    let large = folder.write("large.gz", gzip(&idx(0x08, &[2, 1000, 1000], &vec![0; 2_000_000])));
    let options = OpenOptions { memory_bytes_max: 1 << 20, ..OpenOptions::default() };
    let error = open(&format!("idx:{large},{labels}"), &options).unwrap_err();
    assert!(matches!(error, Error::Limit(_)));
    says(&error, &["large.gz", "2000016 bytes", "gunzip"]);
}

#[test]
fn labels_outside_the_classes_are_left_out_when_asked_for() {
    let folder = Folder::new();
    let images = folder.write("images", idx(0x08, &[3, 1, 1], &[10, 20, 30]));
    let labels = folder.write("labels", idx(0x09, &[3], &[1, 0xff, 0]));
    let dataset = open_skipping(&format!("idx:{images},{labels}")).unwrap();
    let train = dataset.train.as_ref().unwrap();
    assert_eq!((floats(train, 0), floats(train, 1), train.len()), (vec![10.0], vec![30.0], 2));
    assert_eq!(dataset.skipped.len(), 1);
    says(&dataset.skipped[0].error, &["labels row 1", "-1"]);
}

#[test]
fn npy_pairs_are_read_in_every_type_and_order() {
    let cases: [(&str, Vec<u8>, [f32; 2]); 9] = [
        ("|u1", vec![7, 255], [7.0, 255.0]),
        ("|i1", vec![7, 255], [7.0, -1.0]),
        ("<i2", [7i16, -300].iter().flat_map(|v| v.to_le_bytes()).collect(), [7.0, -300.0]),
        (">i2", [7i16, -300].iter().flat_map(|v| v.to_be_bytes()).collect(), [7.0, -300.0]),
        ("<i4", [7i32, -300].iter().flat_map(|v| v.to_le_bytes()).collect(), [7.0, -300.0]),
        ("<i8", [7i64, -300].iter().flat_map(|v| v.to_le_bytes()).collect(), [7.0, -300.0]),
        ("<f4", [7.5f32, -3.0].iter().flat_map(|v| v.to_le_bytes()).collect(), [7.5, -3.0]),
        (">f4", [7.5f32, -3.0].iter().flat_map(|v| v.to_be_bytes()).collect(), [7.5, -3.0]),
        ("<f8", [7.5f64, -3.0].iter().flat_map(|v| v.to_le_bytes()).collect(), [7.5, -3.0]),
    ];
    for (descr, data, expected) in cases {
        let folder = Folder::new();
        let x = folder.write("x.npy", npy(descr, "(2, 1, 1)", &data));
        let y = folder.write("y.npy", npy("<i8", "(2,)", &[1i64, 0].map(i64::to_le_bytes).concat()));
        let dataset = open_plain(&format!("npy:{x},{y}")).unwrap();
        let train = dataset.train.unwrap();
        assert_eq!([floats(&train, 0), floats(&train, 1)].concat(), expected, "{descr}");
        assert_eq!(train.labels().collect::<Vec<_>>(), [1, 0]);
        let array = load_npy(&x).unwrap();
        assert_eq!(array.shape, [2, 1, 1]);
        assert_eq!(array.values.len(), 2);
    }
}

#[test]
fn npy_shapes_become_images_and_labels_or_dense_targets() {
    let folder = Folder::new();
    let y = folder.write("y.npy", npy("|u1", "(2, 1)", &[1, 0]));
    let shapes = [
        ("(2, 4)", 8, ImageShape::new(2, 2, 1)),
        ("(2, 12)", 24, ImageShape::new(2, 2, 3)),
        ("(2, 2, 3)", 12, ImageShape::new(2, 3, 1)),
        ("(2, 2, 3, 5)", 60, ImageShape::new(2, 3, 5)),
    ];
    for (text, bytes, shape) in shapes {
        let x = folder.write("x.npy", npy("|u1", text, &vec![9; bytes]));
        assert_eq!(open_plain(&format!("npy:{x},{y}")).unwrap().train.unwrap().shape(), Some(shape), "{text}");
    }
    let x = folder.write("x.npy", npy("|u1", "(2, 6)", &[9; 12]));
    says(&failure(&format!("npy:{x},{y}")), &["x.npy", "[6]"]);
    let options = OpenOptions { shape: Some(ImageShape::new(2, 3, 1)), ..OpenOptions::default() };
    assert_eq!(open(&format!("npy:{x},{y}"), &options).unwrap().train.unwrap().shape(), options.shape);

    let soft: Vec<u8> = [0.25f32, 0.75, 1.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let y = folder.write("soft.npy", npy("<f4", "(2, 2)", &soft));
    let x = folder.write("x.npy", npy("|u1", "(2, 1)", &[9; 2]));
    let train = open_plain(&format!("npy:{x},{y}")).unwrap().train.unwrap();
    assert!(train.is_dense());
    assert_eq!(train.get(0).unwrap().target, Target::Dense(vec![0.25, 0.75]));
    assert_eq!(train.labels().collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn broken_npy_files_say_what_and_where() {
    let folder = Folder::new();
    let y = folder.write("y.npy", npy("|u1", "(2,)", &[1, 0]));
    let cases: [(Vec<u8>, &[&str]); 9] = [
        (npy_with("|u1", "True", "(2, 1)", &[1, 2]), &["Fortran", "ascontiguousarray"]),
        (npy("<c8", "(2, 1)", &[0; 16]), &["<c8", "astype"]),
        (npy("|O", "(2, 1)", &[0; 4]), &["|O"]),
        (npy("|u1", "(2, 2)", &[1, 2, 3]), &["cut off", "shape [2, 2]"]),
        (npy("|u1", "(2, 1)", &[1, 2, 3]), &["follow"]),
        (npy("<f8", "(1152921504606846976, 8)", &[]), &["1152921504606846976", "more than any file holds"]),
        (npy("|u1", "(1152921504606846976, 1)", &[]), &["cut off"]),
        (b"\x93NUMPY\x01\x00\xff\xff{'descr'".to_vec(), &["header of 65535 bytes"]),
        (b"\x93NUMPX\x01\x00\x00\x00".to_vec(), &["byte 0", "magic"]),
    ];
    for (bytes, parts) in cases {
        let x = folder.write("x.npy", bytes);
        let error = failure(&format!("npy:{x},{y}"));
        says(&error, parts);
        says(&error, &["x.npy"]);
        says(&load_npy(&x).err().unwrap_or(error), &["x.npy"]);
    }
    let x = folder.write("x.npy", npy("|u1", "(2, 1)", &[1, 2]));
    let none = folder.write("none.npy", npy("|u1", "(1152921504606846976, 0)", &[]));
    says(&failure(&format!("npy:{x},{none}")), &["none.npy", "without numbers"]);
    says(&failure(&format!("npy:{none},{y}")), &["none.npy"]);
    let nan: Vec<u8> = [1.0f32, f32::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
    let x = folder.write("x.npy", npy("<f4", "(2, 1)", &nan));
    says(&failure(&format!("npy:{x},{y}")), &["x.npy row 1, byte 132", "NaN"]);
    let dataset = open_skipping(&format!("npy:{x},{y}")).unwrap();
    assert_eq!((dataset.train.unwrap().len(), dataset.skipped.len()), (1, 1));
    says(&failure(&format!("npy:{x}")), &["expected 2 or 4"]);
    says(&failure(&x), &["npy:X.npy,Y.npy"]);
}

#[test]
fn npz_archives_of_keras_and_medmnist_are_read_stored_and_deflated() {
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let folder = Folder::new();
        let keras = [
            ("x_test.npy", npy("|u1", "(1, 2, 2)", &[5; 4])),
            ("x_train.npy", npy("|u1", "(2, 2, 2)", &[1, 2, 3, 4, 5, 6, 7, 8])),
            ("y_train.npy", npy("|u1", "(2,)", &[1, 0])),
            ("y_test.npy", npy("|u1", "(1,)", &[1])),
        ];
        let file = folder.write("mnist.npz", zip(&keras, method));
        for spec in [format!("npz:{file}"), file.clone()] {
            let dataset = open_plain(&spec).unwrap();
            assert_eq!(floats(dataset.train.as_ref().unwrap(), 1), [5.0, 6.0, 7.0, 8.0]);
            assert_eq!(dataset.test.as_ref().unwrap().len(), 1);
        }
        let medmnist = [
            ("train_images.npy", npy("|u1", "(1, 1, 1, 3)", &[1, 2, 3])),
            ("train_labels.npy", npy("|u1", "(1, 1)", &[2])),
            ("val_images.npy", npy("|u1", "(1, 1, 1, 3)", &[1, 2, 3])),
            ("val_labels.npy", npy("|u1", "(1, 1)", &[0])),
            ("test_images.npy", npy("|u1", "(1, 1, 1, 3)", &[1, 2, 3])),
            ("test_labels.npy", npy("|u1", "(1, 1)", &[1])),
        ];
        let file = folder.write("pathmnist.npz", zip(&medmnist, method));
        let dataset = open_plain(&format!("npz:{file}")).unwrap();
        assert_eq!(dataset.validation.as_ref().unwrap().get(0).unwrap().target, Target::Class(0));
        assert_eq!(dataset.classes().len(), 3);
        let only = OpenOptions { only: Some(SplitKind::Test), ..OpenOptions::default() };
        let dataset = open(&format!("npz:{file}"), &only).unwrap();
        assert!(dataset.train.is_none() && dataset.classes().len() == 3);

        let lacking = folder.write("lacking.npz", zip(&keras[..2], method));
        says(&failure(&format!("npz:{lacking}")), &["lacking.npz", "but no y_train"]);
        let other = folder.write("other.npz", zip(&[("a.npy", npy("|u1", "(1,)", &[1]))], method));
        says(&failure(&format!("npz:{other}")), &["other.npz", "only: a.npy", "savez"]);
    }
    let folder = Folder::new();
    let huge = [
        ("x_train.npy", npy("|u1", "(1000000, 1000, 1000)", &[0; 100])),
        ("y_train.npy", npy("|u1", "(1000000,)", &[0])),
    ];
    let file = folder.write("huge.npz", zip(&huge, zip::CompressionMethod::Deflated));
    says(&failure(&format!("npz:{file}")), &["huge.npz: x_train.npy", "compressed bytes can hold"]);
    let file = folder.write("no.npz", b"PK\x03\x04 and nothing else");
    says(&failure(&file), &["no.npz", "zip"]);
}

#[test]
fn csv_rows_of_pixels_are_read_with_and_without_a_header() {
    let folder = Folder::new();
    let rows = "1,0,10,20,255\n0,1,2,3,4\n";
    let expected = [vec![0.0, 10.0, 20.0, 255.0], vec![1.0, 2.0, 3.0, 4.0]];
    let texts = [
        rows.to_string(),
        format!("label,1x1,1x2,2x1,2x2\n{rows}"),
        format!("\u{feff}label,0,1,2,3\r\n{}", rows.replace('\n', "\r\n")),
        format!("digit,a,b,c,d\n\n{rows}\n"),
        "a,b,Class,c,d\n0,10,1,20,255\n1,2,0,3,4".to_string(),
        rows.replace(',', ";"),
        rows.replace(',', "\t"),
        "\"1\",\"0\", 10 ,20,255\n0,1,2,3,4".to_string(),
    ];
    for text in texts {
        let file = folder.write("d.csv", &text);
        let train = open_plain(&format!("csv:{file}")).unwrap().train.unwrap();
        assert_eq!([floats(&train, 0), floats(&train, 1)], expected, "{text:?}");
        assert_eq!(train.labels().collect::<Vec<_>>(), [1, 0]);
        assert_eq!((train.shape(), train.is_bytes()), (Some(ImageShape::new(2, 2, 1)), true));
    }
    let train = folder.write("train.csv", "cat,0.5,1,0,0\ndog,0,0,0,-1.5\n");
    let test = folder.write("test.csv", "dog,0,0,0,0\n");
    let dataset = open_plain(&format!("csv:{train},{test}")).unwrap();
    assert_eq!(dataset.classes(), ["cat", "dog"]);
    assert_eq!(dataset.test.unwrap().labels().collect::<Vec<_>>(), [1]);
    assert!(!dataset.train.as_ref().unwrap().is_bytes());
    assert_eq!(floats(&dataset.train.unwrap(), 1), [0.0, 0.0, 0.0, -1.5]);
    let only = OpenOptions { only: Some(SplitKind::Test), ..OpenOptions::default() };
    assert_eq!(open(&format!("csv:{train},{test}"), &only).unwrap().test.unwrap().labels().collect::<Vec<_>>(), [1]);
}

#[test]
fn broken_csv_files_say_line_and_column() {
    let folder = Folder::new();
    let cases: [(&str, &[&str]); 9] = [
        ("1,0,0,0,0\n0,1,NaN,3,4\n", &["line 2: column 3", "NaN"]),
        ("1,0,0,0,0\n0,1,,3,4\n", &["line 2: column 3", "\"\""]),
        ("1,0,abc,0,0\n0,1,1,3,4\n", &["line 1: column 3", "abc"]),
        ("label,a,b,c,d\n1,0,0,0\n", &["line 2", "got 4 columns, expected 5"]),
        ("1,0,0,0,0\n-1,0,0,0,0\n", &["line 2", "got label \"-1\""]),
        ("1,0,0,0,0\n99999999,0,0,0,0\n", &["line 2", "99999999"]),
        ("1,0,0,0,0\n,0,0,0,0\n", &["line 2", "label is empty"]),
        ("1,0,0,0,0,0\n", &["[5]"]),
        ("1\n2\n", &["line 1", "1 column"]),
    ];
    for (text, parts) in cases {
        let file = folder.write("d.csv", text);
        let error = failure(&format!("csv:{file}"));
        says(&error, parts);
        says(&error, &["d.csv"]);
    }
    for text in ["", "\n1,0\n"] {
        let file = folder.write("d.csv", text);
        says(&failure(&format!("csv:{file}")), &["d.csv", "line 1"]);
    }
    let file = folder.write("d.csv", "label,a,b,c,d\n1,0,0,0,0\n0,1,NaN,3,4\n-1,0,0,0,0\n0,1,2,3,4\n");
    let dataset = open_skipping(&format!("csv:{file}")).unwrap();
    assert_eq!(dataset.train.as_ref().unwrap().len(), 2);
    assert_eq!(floats(dataset.train.as_ref().unwrap(), 1), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(dataset.skipped.len(), 2);
    says(&dataset.skipped[0].error, &["d.csv line 3: column 3"]);
    says(&dataset.skipped[1].error, &["d.csv line 4", "-1"]);
    let long = folder.write("long.csv", vec![b'1'; (16 << 20) + 2]);
    says(&failure(&format!("csv:{long}")), &["long.csv line 1", "longer than"]);
    let header_only = folder.write("header.csv", "label,a,b,c,d\n");
    says(&failure(&format!("csv:{header_only}")), &["header.csv", "no samples"]);
}

#[test]
fn lists_of_image_files_name_paths_beside_them() {
    let folder = Folder::new();
    folder.write("pictures/a.png", png(2, 3, |_, _| [1, 2, 3]));
    folder.write("b, the second.png", png(1, 1, |_, _| [9, 9, 9]));
    for text in [
        "pictures/a.png,cat\n\"b, the second.png\",ant\n",
        "path,label\npictures/a.png,cat\n\"b, the second.png\",ant\n",
        "label,split,filename\ncat,x,pictures/a.png\nant,x,\"b, the second.png\"\n",
    ] {
        let list = folder.write("list.csv", text);
        let dataset = open_plain(&format!("csv:{list}")).unwrap();
        assert_eq!(dataset.classes(), ["ant", "cat"]);
        let train = dataset.train.unwrap();
        assert_eq!(train.labels().collect::<Vec<_>>(), [1, 0]);
        assert_eq!((train.shape(), train.first_shape().unwrap()), (None, ImageShape::new(2, 3, 3)));
        assert_eq!(floats(&train, 1), [9.0; 3]);
    }
    let list = folder.write("list.csv", "path,label\npictures/a.png,cat\nnowhere.png,cat\n");
    says(&failure(&format!("csv:{list}")), &["list.csv line 3", "nowhere.png", "no such file"]);
    let dataset = open_skipping(&format!("csv:{list}")).unwrap();
    assert_eq!((dataset.train.unwrap().len(), dataset.skipped.len()), (1, 1));
}

#[test]
fn image_folders_are_read_with_and_without_splits() {
    let folder = Folder::new();
    for (name, value) in
        [("train/cat/1.png", 1), ("train/cat/deeper/2.PNG", 2), ("train/dog/1.png", 3), ("val/dog/1.png", 4)]
    {
        folder.write(name, png(2, 2, |_, _| [value; 3]));
    }
    folder.write("train/.hidden", "x");
    let grey = image::DynamicImage::ImageLuma8(image::GrayImage::from_pixel(3, 1, image::Luma([200])));
    folder.write("test/cat/1.jpg", encode(&grey, image::ImageFormat::Jpeg));
    folder.write("test/cat/2.bmp", encode(&image::DynamicImage::ImageRgb8(grey.to_rgb8()), image::ImageFormat::Bmp));
    for spec in [folder.spec("images"), folder.0.path().display().to_string()] {
        let dataset = open_plain(&spec).unwrap();
        assert_eq!(dataset.classes(), ["cat", "dog"]);
        let train = dataset.train.as_ref().unwrap();
        assert_eq!(train.labels().collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!([floats(train, 0)[0], floats(train, 1)[0], floats(train, 2)[0]], [1.0, 2.0, 3.0]);
        assert_eq!(dataset.validation.as_ref().unwrap().labels().collect::<Vec<_>>(), [1]);
        let test = dataset.test.as_ref().unwrap();
        assert_eq!(test.get(0).unwrap().image.shape(), ImageShape::new(1, 3, 1));
        assert_eq!(floats(test, 1), [200.0; 9]);
    }
    let flat = open_plain(&format!("images:{}", folder.path("train").display())).unwrap();
    assert_eq!(flat.evaluation().unwrap().0, SplitKind::Train);
    assert_eq!(flat.train.unwrap().len(), 3);

    folder.write("train/cat/notes.txt", "x");
    let whole = png(2, 2, |_, _| [7; 3]);
    folder.write("train/dog/broken.png", &whole[..whole.len() / 2]);
    says(&failure(&folder.spec("images")), &["notes.txt", "skip-bad"]);
    let dataset = open_skipping(&folder.spec("images")).unwrap();
    assert_eq!(dataset.train.unwrap().len(), 3);
    let skipped: Vec<String> = dataset.skipped.iter().map(|s| s.error.to_string()).collect();
    assert!(skipped[0].contains("notes.txt") && skipped[1].contains("broken.png"), "{skipped:?}");
    std::fs::remove_file(folder.path("train/cat/notes.txt")).unwrap();
    says(&failure(&folder.spec("images")), &["broken.png", "does not decode"]);
    folder.write("test/bird/1.png", &whole);
    says(&failure(&folder.spec("images")), &["\"bird\" is none of the classes: cat, dog"]);
}

#[test]
fn a_loader_passes_on_what_went_wrong_from_any_thread() {
    let folder = Folder::new();
    let whole = png(2, 2, |_, _| [7; 3]);
    for name in 0..20 {
        folder.write(&format!("cat/{name:02}.png"), &whole);
    }
    folder.write("cat/13.png", &whole[..whole.len() - 20]);
    let train = open_plain(&folder.spec("images")).unwrap().train.unwrap();
    for (prefetch, threads) in [(0, 1), (2, 1), (2, 3)] {
        let config = LoaderConfig { prefetch, threads, ..LoaderConfig::evaluation(4) };
        let loader = Loader::new(train.clone(), train.default_preprocess().unwrap(), config).unwrap();
        let (mut epoch, mut batch) = (loader.epoch(0, 0), Batch::default());
        for step in 0..3 {
            assert_eq!(epoch.next_into(&mut batch).unwrap(), Some(step));
        }
        says(&epoch.next_into(&mut batch).unwrap_err(), &["13.png", "does not decode"]);
        assert_eq!(epoch.next_into(&mut batch).unwrap(), None);
    }
}

#[test]
fn empty_folders_are_errors() {
    let folder = Folder::new();
    says(&failure(&folder.spec("images")), &["empty folder", "DIR/CLASS"]);
    folder.write("notes.txt", "x");
    says(&failure(&folder.spec("images")), &["has no folders"]);
    says(&failure(&folder.0.path().display().to_string()), &["neither", "images:DIR"]);
    std::fs::create_dir_all(folder.path("train/cat")).unwrap();
    says(&failure(&folder.spec("images")), &["train/cat", "no images"]);
    std::fs::create_dir_all(folder.path("other/train")).unwrap();
    says(&failure(&format!("images:{}", folder.path("other").display())), &["train", "no folders"]);
    says(&failure(&folder.path("absent").display().to_string()), &["absent", "no file or folder"]);
    says(&failure(&format!("images:{}", folder.path("absent").display())), &["absent"]);
}

#[test]
fn what_a_path_holds_is_told_or_asked() {
    let folder = Folder::new();
    folder.write("cat/1.png", png(1, 1, |_, _| [1; 3]));
    folder.write("train-images-idx3-ubyte", idx(0x08, &[1, 1, 1], &[1]));
    folder.write("train-labels-idx1-ubyte", idx(0x08, &[1], &[0]));
    says(&failure(&folder.0.path().display().to_string()), &["idx:DIR or images:DIR"]);
    std::fs::remove_dir_all(folder.path("cat")).unwrap();
    assert_eq!(open_plain(&folder.0.path().display().to_string()).unwrap().train.unwrap().len(), 1);
    says(&failure(&folder.path("train-images-idx3-ubyte").display().to_string()), &["idx:IMAGES,LABELS"]);
    let csv = folder.write("d.csv", "1,5\n0,6\n");
    assert_eq!(open_plain(&csv).unwrap().train.unwrap().len(), 2);
    let other = folder.write("other", b"\x7fELF\0\0");
    says(&failure(&other), &["neither an npz archive nor a CSV file"]);
}

#[test]
fn images_decode_to_grey_or_colour() {
    let folder = Folder::new();
    let rgba = image::RgbaImage::from_pixel(1, 1, image::Rgba([10, 20, 30, 0]));
    let path = folder.write("rgba.png", encode(&rgba.into(), image::ImageFormat::Png));
    let colour = load_image(&path).unwrap();
    assert_eq!((colour.shape(), colour.pixels()), (ImageShape::new(1, 1, 3), &Pixels::U8(vec![10, 20, 30])));
    let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_pixel(1, 1, image::Luma([0x8080]));
    let path = folder.write("deep.png", encode(&deep.into(), image::ImageFormat::Png));
    assert_eq!(load_image(&path).unwrap().pixels(), &Pixels::U8(vec![0x80]));
    let path = folder.write("named.png", b"GIF89a\x01\x00\x01\x00");
    says(&load_image(&path).unwrap_err(), &["named.png", "Gif", "PNG, JPEG or BMP"]);
    let path = folder.write("text.png", b"hello");
    says(&load_image(&path).unwrap_err(), &["text.png", "5 bytes beginning"]);
    let limits = ImageLimits { side_px_max: 10, ..ImageLimits::default() };
    let error = decode_image(&png(1, 11, |_, _| [0; 3]), limits).unwrap_err();
    assert!(matches!(error, Error::Limit(_)), "{error}");
}

#[test]
fn every_image_file_cut_off_or_changed_is_an_error_or_an_image() {
    let picture = image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, 99]));
    for format in [image::ImageFormat::Png, image::ImageFormat::Jpeg, image::ImageFormat::Bmp] {
        let whole = encode(&picture.clone().into(), format);
        for length in 0..whole.len().min(120) {
            assert!(decode_image(&whole[..length], ImageLimits::default()).is_err(), "{format:?} of {length} bytes");
        }
        for at in 0..whole.len().min(200) {
            for bit in [0, 3, 7] {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                let limits = ImageLimits { decoded_bytes_max: 1 << 20, ..ImageLimits::default() };
                // Any answer will do, but there must be one.
                let _ = decode_image(&changed, limits);
            }
        }
    }
}

#[test]
fn colours_and_sizes_are_brought_to_the_networks_input() {
    let colour = Image::new(ImageShape::new(1, 2, 3), Pixels::U8(vec![255, 0, 0, 10, 20, 30])).unwrap();
    let mut out = [0.0; 2];
    preprocess(&colour, &Preprocess::identity(ImageShape::new(1, 2, 1)), &mut out).unwrap();
    assert_eq!(out, [76.0, 18.0], "as Pillow's convert('L')");
    let grey = Image::new(ImageShape::new(1, 1, 1), Pixels::U8(vec![100])).unwrap();
    let mut out = [0.0; 3];
    let spec = Preprocess::with_mean_std(ImageShape::new(1, 1, 3), vec![100.0, 90.0, 110.0], vec![1.0, 2.0, 4.0]);
    preprocess(&grey, &spec, &mut out).unwrap();
    assert_eq!(out, [0.0, 5.0, -2.5]);
    let four = Image::new(ImageShape::new(1, 1, 4), Pixels::U8(vec![1; 4])).unwrap();
    says(&preprocess(&four, &spec, &mut out).unwrap_err(), &["cannot make 3 channels of an image of 4"]);
    says(&preprocess(&grey, &spec, &mut [0.0; 2]).unwrap_err(), &["room for 2 values"]);
    says(&preprocess(&Image::default(), &spec, &mut out).unwrap_err(), &["without pixels"]);
    for (mean, std) in
        [(vec![0.0; 2], vec![1.0]), (vec![0.0], vec![0.0]), (vec![f32::NAN], vec![1.0]), (vec![], vec![1.0])]
    {
        assert!(Preprocess::with_mean_std(ImageShape::new(1, 1, 3), mean, std).check().is_err());
    }
}

/// A spec of a broken file; opening and reading it must give an answer, never a panic.
fn read_all(spec: &str) {
    for options in [OpenOptions::default(), OpenOptions { skip_bad: true, ..OpenOptions::default() }] {
        if let Ok(dataset) = open(spec, &options) {
            for split in SplitKind::ALL.into_iter().filter_map(|kind| dataset.split(kind)) {
                for index in 0..split.len().min(100) {
                    let _ = split.get(index);
                }
            }
        }
    }
}

#[test]
fn every_bit_of_every_header_may_be_wrong() {
    let folder = Folder::new();
    let images = idx(0x08, &[3, 2, 2], &[7; 12]);
    let labels = folder.write("labels", idx(0x08, &[3], &[0, 1, 2]));
    let array = npy("|u1", "(3, 2, 2)", &[7; 12]);
    let entries = [("x_train.npy", array.clone()), ("y_train.npy", npy("|u1", "(3,)", &[0, 1, 2]))];
    let y = folder.write("y.npy", npy("|u1", "(3,)", &[0, 1, 2]));
    let archive = zip(&entries, zip::CompressionMethod::Deflated);
    let change_all = |bytes: &[u8], spec: &dyn Fn(&Path) -> String| {
        let path = folder.path("changed");
        for at in 0..bytes.len() {
            for bit in [0, 2, 7] {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1 << bit;
                std::fs::write(&path, changed).unwrap();
                read_all(&spec(&path));
            }
            std::fs::write(&path, &bytes[..at]).unwrap();
            read_all(&spec(&path));
        }
    };
    change_all(&images, &|path| format!("idx:{},{labels}", path.display()));
    change_all(&gzip(&images), &|path| format!("idx:{},{labels}", path.display()));
    change_all(&array, &|path| format!("npy:{},{y}", path.display()));
    change_all(&archive, &|path| format!("npz:{}", path.display()));
    change_all(b"label,a,b,c,d\n1,0,0,0,\"0\"\n0,1,2,3,4\n", &|path| format!("csv:{}", path.display()));
}

proptest! {
    #[test]
    fn npy_arrays_are_read_back(values in prop::collection::vec(-1e6f32..1e6, 1..60), big in any::<bool>()) {
        let data: Vec<u8> = values.iter().flat_map(|v| if big { v.to_be_bytes() } else { v.to_le_bytes() }).collect();
        let bytes = npy(if big { ">f4" } else { "<f4" }, &format!("({},)", values.len()), &data);
        let array = read_npy(&bytes).unwrap();
        prop_assert_eq!(array.shape, [values.len()]);
        prop_assert_eq!(array.values, Pixels::F32(values));
        prop_assert!(read_npy(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn npy_text_of_any_kind_gets_an_answer(text in ".{0,80}", version in 0u8..5) {
        let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
        let length = text.len() as u32;
        if version == 1 { bytes.extend((length as u16).to_le_bytes()) } else { bytes.extend(length.to_le_bytes()) }
        bytes.extend(text.as_bytes());
        let _ = read_npy(&bytes);
    }

    #[test]
    fn idx_images_are_read_back(height in 1usize..6, width in 1usize..6, count in 1usize..5, seed in any::<u8>(), zipped in any::<bool>()) {
        let folder = Folder::new();
        let data: Vec<u8> = (0..count * height * width).map(|i| (i as u8).wrapping_mul(37).wrapping_add(seed)).collect();
        let content = idx(0x08, &[count as u32, height as u32, width as u32], &data);
        let images = folder.write("images", if zipped { gzip(&content) } else { content });
        let labels = folder.write("labels", idx(0x08, &[count as u32], &vec![0; count]));
        let train = open_plain(&format!("idx:{images},{labels}")).unwrap().train.unwrap();
        prop_assert_eq!(train.shape(), Some(ImageShape::new(height, width, 1)));
        for (i, chunk) in data.chunks(height * width).enumerate() {
            let sample = train.get(i).unwrap();
            prop_assert_eq!(sample.image.pixels(), &Pixels::U8(chunk.to_vec()));
        }
    }
}
