//! The architecture file: the same layers and parameters, in TOML.

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Architecture, INPUT, Layer, LayerSpec};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    input: Vec<usize>,
    #[serde(default)]
    layer: Vec<toml::Spanned<toml::Table>>,
}

#[derive(Serialize)]
struct FileOut<'a> {
    name: &'a str,
    input: &'a [usize],
    layer: Vec<toml::Table>,
}

impl Architecture {
    /// An architecture from the text of a TOML file: `name`, `input` (the shape of one sample) and a list of tables
    /// `[[layer]]`, each with `type` (Keras's name), optionally `name` and `inputs` (names of earlier layers, or
    /// `input`; without it the layer reads the one above), and the layer's parameters by Keras's names, with Keras's
    /// defaults.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the line, and the layer, for what is no TOML, an unknown layer or parameter, or a value of
    /// the wrong kind. Whether the layers fit each other is found out by [`Architecture::graph`].
    pub fn from_toml(text: &str) -> Result<Self> {
        let line_of = |offset: usize| text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1;
        let file: File = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(String::new(), |span| format!("line {}", line_of(span.start)));
            Error::invalid(place, error.message())
        })?;
        let mut architecture = Self::sequential(file.name, file.input);
        for spanned in file.layer {
            let line = line_of(spanned.span().start);
            let spec = architecture.layer_from_table(spanned.into_inner(), line)?;
            architecture.layers.push(spec);
        }
        Ok(architecture)
    }

    /// The architecture as the text of a TOML file, with every parameter spelled out.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a parameter cannot be written (a size above 2^63).
    pub fn to_toml(&self) -> Result<String> {
        let mut layer = Vec::with_capacity(self.layers.len());
        for spec in &self.layers {
            let mut table = toml::Table::new();
            table.insert("type".into(), spec.layer.type_name().into());
            table.insert("name".into(), spec.name.clone().into());
            table.insert("inputs".into(), spec.inputs.clone().into());
            table.extend(spec.layer.to_table().map_err(|error| error.at(spec.place()))?);
            layer.push(table);
        }
        let file = FileOut { name: &self.name, input: &self.input, layer };
        toml::to_string(&file).map_err(|error| Error::invalid(&self.name, error))
    }

    fn layer_from_table(&self, mut table: toml::Table, line: usize) -> Result<LayerSpec> {
        let number = self.layers.len() + 1;
        let place = |name: Option<&str>| match name {
            Some(name) => format!("line {line}: layer {number} \"{name}\""),
            None => format!("line {line}: layer {number}"),
        };
        let name = match table.remove("name") {
            None => None,
            Some(toml::Value::String(name)) if !name.is_empty() && name != INPUT => Some(name),
            Some(other) => {
                let message = format!("got name {other}, expected text other than \"{INPUT}\"");
                return Err(Error::invalid(place(None), message));
            }
        };
        let place = place(name.as_deref());
        let Some(toml::Value::String(type_name)) = table.remove("type") else {
            return Err(
                Error::invalid(place, "it has no `type`").with_hint(format!("types are {}", Layer::TYPES.join(", ")))
            );
        };
        let inputs = match table.remove("inputs") {
            None => vec![self.last().0],
            Some(value) => value.try_into().map_err(|_| {
                Error::invalid(&place, "`inputs` must be a list of layer names")
                    .with_hint("inputs = [\"add\", \"relu\"]")
            })?,
        };
        let layer = Layer::from_table(&type_name, table).map_err(|error| error.at(format!("{place} ({type_name})")))?;
        let name = name.unwrap_or_else(|| self.free_name(&layer));
        Ok(LayerSpec { name, layer, inputs, line: Some(line) })
    }
}

#[cfg(test)]
mod tests {
    use crate::arch::Architecture;

    const TEXT: &str = r#"
name = "wired"
input = [12, 10]

[[layer]]
type = "Conv2D"
name = "stem"
filters = 4
kernel_size = [3, 5]
strides = 2
padding = "same"
activation = "gelu"
kernel_initializer = "he_normal"
bias_initializer = { name = "constant", value = 0.25 }

[[layer]]
type = "SeparableConv2D"
filters = 4
kernel_size = 3
padding = "same"

[[layer]]
type = "Add"
inputs = ["stem", "separable_conv2d"]

[[layer]]
type = "Concatenate"
inputs = ["add", "stem"]

[[layer]]
type = "ZeroPadding2D"
padding = [[0, 1], [2, 3]]

[[layer]]
type = "GlobalMaxPooling2D"

[[layer]]
type = "Dense"
units = 3
activation = "softmax"
"#;

    #[test]
    fn a_file_says_what_the_builder_says() {
        let architecture = Architecture::from_toml(TEXT).unwrap();
        let graph = architecture.graph(5).unwrap();
        assert_eq!(graph.tensor(graph.outputs[0]).to_string(), "float32[-1,3]");
        let summary = architecture.summary().unwrap();
        let shapes: Vec<_> = summary.rows.iter().map(|row| row.output_shape.clone()).collect();
        assert_eq!(shapes[0], [-1, 6, 5, 4]);
        assert_eq!(shapes[3], [-1, 6, 5, 8]);
        assert_eq!(shapes[4], [-1, 7, 10, 8]);
        let parameters: Vec<_> = summary.rows.iter().map(|row| row.parameters_trainable).collect();
        assert_eq!(parameters, [15 * 4 + 4, 9 * 4 + 16 + 4, 0, 0, 0, 0, 8 * 3 + 3]);
        assert_eq!(summary.rows[0].macs, 6 * 5 * 4 * 15);
        let bias = graph.tensors.iter().find(|tensor| tensor.name == "stem/bias").unwrap();
        assert_eq!(bias.data.as_ref().unwrap().elements::<f32>().unwrap(), [0.25; 4]);
        let again = Architecture::from_toml(&architecture.to_toml().unwrap()).unwrap();
        assert_eq!(again.graph(5).unwrap(), graph);
    }

    #[test]
    fn errors_name_line_and_layer() {
        let change = |from: &str, to: &str| {
            assert!(TEXT.contains(from));
            let text = TEXT.replacen(from, to, 1);
            Architecture::from_toml(&text).and_then(|architecture| architecture.graph(0)).unwrap_err().to_string()
        };
        let cases = [
            ("filters = 4", "filters = -4", "line 5: layer 1 \"stem\" (Conv2D): "),
            ("filters = 4", "filter = 4", "unknown field `filter`, expected one of `filters`"),
            ("filters = 4\n", "", "line 5: layer \"stem\" (Conv2D): `filters` must be given"),
            ("\"he_normal\"", "\"he_norm\"", "unknown initializer `he_norm`"),
            ("\"gelu\"", "\"glue\"", "unknown variant `glue`"),
            ("type = \"Add\"", "type = \"Sum\"", "line 22: layer 3 (Sum): unknown layer type `Sum`"),
            ("[\"add\", \"stem\"]", "[\"add\", \"trunk\"]", "(Concatenate): it reads \"trunk\""),
            ("inputs = [\"stem\", \"separable_conv2d\"]\n", "", "(Add): got 1 inputs, expected two or more"),
            ("input = [12, 10]", "input = [12, 10", "line 5: missing comma"),
            ("units = 3", "units = 3\nname = \"stem\"", "line 37: layer \"stem\" (Dense): another layer"),
        ];
        for (from, to, expected) in cases {
            let error = change(from, to);
            assert!(error.contains(expected), "{from} -> {to}: {error}");
        }
    }
}
