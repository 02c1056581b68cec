//! What `init` asks where an argument is missing and somebody sits at the terminal.

use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::tell;
use std::io::{IsTerminal, Read};

/// Longest answer, in bytes.
const LONGEST: u64 = 1 << 16;

/// Asks which data there is.
pub fn data() -> Result<String> {
    let question = "Which data? A file or a folder, or http, tcp, lines or kafka for samples that come live:";
    ask(question, "name the data: a file, a folder, http, tcp, lines or kafka")
}

/// Asks for the shape of a sample.
pub fn shape() -> Result<Vec<usize>> {
    let question =
        "Shape of a sample? A number of features such as 5, or channels,height,width such as 1,28,28:";
    let missing =
        "give the shape of a sample (--shape 5, or --shape 1,28,28), or a file with some (--like FILE)";
    let answer = ask(question, missing)?;
    let sizes = answer.split(',').map(|size| size.trim().parse());
    sizes.collect::<Result<_, _>>().map_err(|_| Error::Request(format!("`{answer}` is no shape: {missing}")))
}

/// Asks for the names of the classes.
pub fn classes() -> Result<Vec<String>> {
    let missing =
        "give the names of the classes (--classes cat,dog), or a file with labelled samples (--like FILE)";
    let answer = ask("Names of the classes, with commas between them:", missing)?;
    Ok(answer.split(',').map(|name| name.trim().to_string()).collect())
}

fn ask(question: &str, missing: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::request(missing));
    }
    tell(question);
    let mut line = Vec::new();
    let bytes = std::io::stdin().lock().take(LONGEST).bytes();
    for byte in bytes.map_while(std::result::Result::ok).take_while(|byte| *byte != b'\n') {
        line.push(byte);
    }
    let answer = String::from_utf8_lossy(&line).trim().to_string();
    if answer.is_empty() { Err(Error::request(missing)) } else { Ok(answer) }
}
