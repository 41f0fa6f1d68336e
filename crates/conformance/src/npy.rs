//! The arrays that our scripts save: NumPy's format, version 1, little-endian, C order.

use litesmith_graph::DType;

/// An array as its elements are stored.
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    pub(crate) bytes: Vec<u8>,
}

impl Array {
    pub(crate) fn read(file: &[u8]) -> Result<Self, String> {
        let short = || "the file ends in its npy header".to_owned();
        let [b'\x93', b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, rest @ ..] = file else {
            return Err("no npy file of version 1".to_owned());
        };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (header, bytes) = rest.split_at_checked(length).ok_or_else(short)?;
        let header = String::from_utf8_lossy(header);
        let after =
            |key: &str| header.split_once(key).map(|(_, value)| value).ok_or_else(|| format!("no {key} in {header}"));
        let dtype = match after("'descr': '")?.get(..3) {
            Some("<f4") => DType::F32,
            Some("|u1") => DType::U8,
            Some("|i1") => DType::I8,
            Some("<i2") => DType::I16,
            other => return Err(format!("got elements {other:?}, expected <f4, |u1, |i1 or <i2")),
        };
        let sizes = after("'shape': (")?.split(')').next().unwrap_or_default();
        let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes.map(|size| size.parse().map_err(|error| format!("size {size}: {error}")));
        Ok(Self { shape: shape.collect::<Result<_, _>>()?, dtype, bytes: bytes.to_vec() })
    }
}
