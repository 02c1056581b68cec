//! What a feeder or a job may send. The first byte says how it is read: as a stream of records
//! with lengths and checksums, or as one record's body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicebox_stream::protocol;
use sluicebox_stream::protocol::{Frame, Hello, Reply};

const MOST: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else { return };
    if how % 2 == 0 {
        return stream(data);
    }
    let whole = |bytes: Vec<u8>| assert_eq!(&bytes[8..], data, "what is decoded is what was sent");
    let _ = protocol::decode::<Frame>(data).map(|frame| whole(protocol::record(&frame)));
    let _ = protocol::decode::<Hello>(data).map(|hello| whole(protocol::record(&hello)));
    let _ = protocol::decode::<Reply>(data).map(|reply| whole(protocol::record(&reply)));
});

fn stream(mut data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut body = Vec::new();
    runtime.block_on(async {
        if protocol::read_preamble(&mut data).await.is_err() {
            return;
        }
        while let Ok(true) = protocol::read_record(&mut data, MOST, &mut body).await {
            assert!(body.len() <= MOST);
            let _ = protocol::decode::<Frame>(&body);
        }
    });
}
