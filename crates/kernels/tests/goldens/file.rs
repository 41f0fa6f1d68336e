//! Reads the golden files: JSON cases and a blob of bytes.

use litesmith_kernels::conv_2d::Window;
use litesmith_kernels::{Activation, QuantParams};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub(crate) struct Golden {
    cases: Vec<Value>,
    blob: Vec<u8>,
}

pub(crate) struct Case<'a> {
    value: &'a Value,
    blob: &'a [u8],
}

/// Another folder, of cases with other seeds or from real models, to try more than what is committed.
pub(crate) fn elsewhere() -> Option<PathBuf> {
    std::env::var_os("LITESMITH_OP_GOLDENS").map(PathBuf::from)
}

impl Golden {
    pub(crate) fn load(op: &str) -> Self {
        let folder = elsewhere().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/ops"));
        let text = std::fs::read_to_string(folder.join(format!("{op}.json"))).expect("golden cases");
        let blob = std::fs::read(folder.join(format!("{op}.bin"))).expect("golden bytes");
        Self { cases: serde_json::from_str(&text).expect("JSON"), blob }
    }

    pub(crate) fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        self.cases.iter().map(|value| Case { value, blob: &self.blob })
    }
}

impl Case<'_> {
    pub(crate) fn name(&self) -> &str {
        self.value["name"].as_str().expect("name")
    }

    pub(crate) fn attribute(&self, name: &str) -> &Value {
        &self.value[name]
    }

    pub(crate) fn pair(&self, name: &str) -> [usize; 2] {
        [0, 1].map(|i| self.value[name][i].as_u64().expect("a pair") as usize)
    }

    pub(crate) fn float(&self, name: &str) -> f32 {
        f32::from_bits(self.value[name].as_u64().expect("bits") as u32)
    }

    pub(crate) fn activation(&self) -> Activation {
        match self.value["activation"].as_str().expect("activation") {
            "none" => Activation::None,
            "relu" => Activation::Relu,
            "relu6" => Activation::Relu6,
            "relu_n1_to_1" => Activation::ReluN1To1,
            other => panic!("activation {other}"),
        }
    }

    pub(crate) fn has(&self, tensor: &str) -> bool {
        self.value["tensors"].get(tensor).is_some()
    }

    pub(crate) fn dtype(&self, tensor: &str) -> &str {
        self.value["tensors"][tensor]["dtype"].as_str().expect("dtype")
    }

    pub(crate) fn shape(&self, tensor: &str) -> Vec<usize> {
        let dims = self.value["tensors"][tensor]["shape"].as_array().expect("shape");
        dims.iter().map(|d| d.as_u64().expect("dimension") as usize).collect()
    }

    pub(crate) fn scales(&self, tensor: &str) -> Vec<f32> {
        let bits = self.value["tensors"][tensor]["scale_bits"].as_array().expect("scales");
        bits.iter().map(|b| f32::from_bits(b.as_u64().expect("bits") as u32)).collect()
    }

    pub(crate) fn zero_point(&self, tensor: &str) -> i32 {
        self.value["tensors"][tensor]["zero_point"].as_i64().expect("zero point") as i32
    }

    pub(crate) fn params(&self, tensor: &str) -> QuantParams {
        QuantParams { scale: self.scales(tensor)[0], zero_point: self.zero_point(tensor) }
    }

    fn at<T: bytemuck::Pod>(&self, at: &Value, len: usize) -> Option<Vec<T>> {
        let at = at.as_u64()? as usize;
        let bytes = &self.blob[at..at + len * size_of::<T>()];
        Some(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
    }

    pub(crate) fn data<T: bytemuck::Pod>(&self, tensor: &str) -> Vec<T> {
        let len = self.shape(tensor).iter().product();
        self.at(&self.value["tensors"][tensor]["at"], len).expect("data")
    }

    /// The output in `mode`, if LiteRT could compute one.
    pub(crate) fn expected<T: bytemuck::Pod>(&self, mode: &str) -> Option<Vec<T>> {
        self.at(&self.value[mode], self.shape("output").iter().product())
    }

    /// The window of axis 1 or 2 with a kernel of `kernel` taps.
    pub(crate) fn window(&self, axis: usize, kernel: usize) -> Window {
        let (input, output) = (self.shape("input")[axis], self.shape("output")[axis]);
        let (stride, dilation) = (self.pair("stride")[axis - 1], self.pair("dilation")[axis - 1]);
        let needed = (output - 1) * stride + (kernel - 1) * dilation + 1;
        let pad_before = if self.value["same"] == true { needed.saturating_sub(input) / 2 } else { 0 };
        Window { input, output, kernel, stride, dilation, pad_before }
    }
}
