//! The few operations of Python's pickle format (protocol 2) in which TorchScript keeps the values of modules.

/// Values written so far.
pub struct Pickle(Vec<u8>);

/// Begins a list of values that the next operation takes together.
const MARK: u8 = b'(';

impl Pickle {
    /// Starts a pickle.
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }

    /// Ends it and returns its bytes.
    pub fn end(mut self) -> Vec<u8> {
        self.0.push(b'.');
        self.0
    }

    /// Writes an object of a class: `attributes` writes names and values by turns.
    pub fn object(&mut self, class: &str, attributes: impl FnOnce(&mut Self)) {
        self.class("__torch__", class);
        self.0.extend([b')', 0x81, b'}', MARK]); // of no arguments; its attributes as a dictionary
        attributes(self);
        self.0.extend(b"ub");
    }

    /// Writes a text.
    pub fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    /// Writes a truth value.
    pub fn truth(&mut self, value: bool) {
        self.0.push(if value { 0x88 } else { 0x89 });
    }

    /// Writes None.
    pub fn none(&mut self) {
        self.0.push(b'N');
    }

    /// Writes an empty tuple.
    pub fn nothing(&mut self) {
        self.0.push(b')');
    }

    /// Writes a contiguous f32 tensor of this shape, whose values are the archive's entry `data/ENTRY`.
    pub fn tensor(&mut self, entry: usize, shape: &[i64], trained: bool) {
        self.class("torch._utils", "_rebuild_tensor_v2");
        self.0.extend([MARK, MARK]);
        self.text("storage");
        self.class("torch", "FloatStorage");
        self.text(&entry.to_string());
        self.text("cpu");
        self.number(shape.iter().product());
        self.0.extend(b"tQ");
        self.number(0);
        self.tuple(shape);
        let mut strides = vec![1; shape.len()];
        for at in (1..shape.len()).rev() {
            strides[at - 1] = strides[at] * shape[at].max(1);
        }
        self.tuple(&strides);
        self.truth(trained);
        self.class("collections", "OrderedDict");
        self.0.extend(b")RtR"); // without hooks
    }

    fn class(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn tuple(&mut self, numbers: &[i64]) {
        self.0.push(MARK);
        numbers.iter().for_each(|number| self.number(*number));
        self.0.push(b't');
    }

    fn number(&mut self, number: i64) {
        self.0.extend([0x8a, 8]);
        self.0.extend(number.to_le_bytes());
    }
}
