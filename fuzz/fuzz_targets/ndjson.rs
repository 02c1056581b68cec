//! Lines of samples, as files, pipes and requests hold them. The first byte says of what look.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicebox_stream::decode::{DecodeError, Records, ndjson};
use sluicebox_core::sample::{Dtype, Format, Shape, Values};

fuzz_target!(|data: &[u8]| {
    let Some((look, data)) = data.split_first() else { return };
    let shape = match look % 3 {
        0 => Shape::Vector { features: 2 },
        1 => Shape::Image { channels: 1, height: 2, width: 2 },
        _ => Shape::Image { channels: 3, height: 2, width: 1 },
    };
    let dtype = if look & 4 == 0 { Dtype::U8 } else { Dtype::F32 };
    let format = Format { shape, dtype, scale: 1.0, classes: vec!["cat".into(), "dog".into()] };
    let mut records = ndjson(std::io::Cursor::new(data.to_vec()), &format);
    loop {
        match records.next_record() {
            Ok(Some(record)) => {
                assert_eq!((record.values.len(), record.values.dtype()), (shape.len(), dtype));
                if let Values::F32(values) = record.values {
                    assert!(values.iter().all(|value| value.is_finite()));
                }
            }
            Err(DecodeError::Bad { .. }) => {}
            Ok(None) | Err(DecodeError::Broken(_)) => return,
        }
    }
});
