//! `GET /`: the files in `src/serve/http/page`. They hold no job data: the page requests it from the
//! other routes, with the token that the user enters.

use crate::serve::http::shared::Shared;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use std::sync::Arc;

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $kind:ident $file:literal)+) => {
        &[ $( File { path: $path, kind: $kind, bytes: include_bytes!(concat!("page/", $file)) } ),+ ]
    };
}

const FILES: &[File] = files! {
    "/" HTML "index.html"
    "/page/page.css" CSS "page.css"
    "/page/main.js" JS "main.js"
    "/page/api.js" JS "api.js"
    "/page/begin.js" JS "begin.js"
    "/page/chart.js" JS "chart.js"
    "/page/charts.js" JS "charts.js"
    "/page/confusion.js" JS "confusion.js"
    "/page/dom.js" JS "dom.js"
    "/page/format.js" JS "format.js"
    "/page/graph.js" JS "graph.js"
    "/page/help.js" JS "help.js"
    "/page/keep.js" JS "keep.js"
    "/page/lines.js" JS "lines.js"
    "/page/marks.js" JS "marks.js"
    "/page/other.js" JS "other.js"
    "/page/points.js" JS "points.js"
    "/page/series.js" JS "series.js"
    "/page/tables.js" JS "tables.js"
    "/page/tiles.js" JS "tiles.js"
    "/page/verdicts.js" JS "verdicts.js"
    "/page/wall.js" JS "wall.js"
    "/page/workers.js" JS "workers.js"
    "/page/icon.svg" SVG "icon.svg"
    "/page/vendor/uPlot.iife.min.js" JS "vendor/uPlot.iife.min.js"
    "/page/vendor/uPlot.min.css" CSS "vendor/uPlot.min.css"
};

/// Returns the routes to all files.
pub fn routes() -> Router<Arc<Shared>> {
    FILES.iter().fold(Router::new(), |routes, file| {
        let answer = move || async move { ([(header::CONTENT_TYPE, file.kind)], file.bytes) };
        routes.route(file.path, get(answer))
    })
}

/// Returns whether `path` is a file of the page.
pub fn is_file(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use super::{FILES, File};

    #[test]
    fn no_module_waits_for_another_to_be_read() {
        let html = std::str::from_utf8(FILES[0].bytes).unwrap();
        for File { path, .. } in FILES {
            let is_module = path.ends_with(".js") && !path.contains("vendor") && *path != "/page/main.js";
            let named = format!("<link rel=\"modulepreload\" href=\"{path}\">");
            assert_eq!(html.contains(&named), is_module, "{named}");
        }
    }

    #[test]
    fn the_page_is_light() {
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes <= 200_000, "{bytes} bytes");
        println!("{bytes} bytes in {} files", FILES.len());
    }

    #[test]
    fn what_the_page_asks_for_is_there() {
        let text: String = FILES.iter().map(|file| String::from_utf8_lossy(file.bytes)).collect();
        let modules = text.split("from \"./").skip(1).filter_map(|rest| rest.split_once('"'));
        let files = text.split("=\"/page/").skip(1).filter_map(|rest| rest.split_once('"'));
        let asked: Vec<_> = modules.chain(files).map(|(name, _)| format!("/page/{name}")).collect();
        assert!(asked.len() > 20, "{asked:?}");
        for path in asked {
            assert!(FILES.iter().any(|file| file.path == path), "{path}");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for file in FILES.iter().filter(|file| !file.path.contains("vendor")) {
            let text = std::str::from_utf8(file.bytes).unwrap();
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{}", file.path);
            assert!(!text.contains("innerHTML") && !text.contains("eval("), "{}", file.path);
            assert!(!text.contains(" style=\"") && !text.contains("<style"), "{}", file.path);
        }
    }
}
