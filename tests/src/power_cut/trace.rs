//! Reads the output of `strace -f -y -xx`.

use std::{collections::HashMap, path::Path};

use super::Call;

/// The calls that matter. A program's marks appear as `write`.
pub(super) const CALLS: &str = "trace=open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,fsync,\
                                fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,link,linkat";

/// The calls on the files of `folder`, and the marks, in the order in which they ended.
///
/// # Panics
/// A call is of a kind that is not understood.
pub(super) fn parse(text: &str, folder: &Path) -> Vec<Call> {
    let mut begun: HashMap<&str, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else { continue };
        let rest = rest.trim_start();
        // Concurrent calls of two threads come in two parts.
        let whole = if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, start.trim_end().to_owned());
            continue;
        } else if let Some((_, end)) = rest.split_once(" resumed>") {
            begun.remove(thread).unwrap_or_default() + end
        } else {
            rest.to_owned()
        };
        calls.extend(call(&whole, folder));
    }
    calls
}

/// One successful call, as `name(arguments) = result`.
fn call(line: &str, folder: &Path) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let number: i64 = result.split(|c: char| c != '-' && !c.is_ascii_digit()).next()?.parse().ok()?;
    if number < 0 {
        return None;
    }
    let within = |path: &str| {
        let path = Path::new(path).strip_prefix(folder).ok()?.to_str()?.to_owned();
        (!path.ends_with("-shm") && !path.ends_with("lock")).then_some(path)
    };
    let parts: Vec<&str> = arguments.split(", ").collect();
    let strings = || {
        arguments.split('"').skip(1).step_by(2).map(|hex| String::from_utf8(decode(hex)).unwrap_or_default())
    };
    // The file of the first argument's descriptor.
    let file = || within(&path_of(parts[0])?);
    match name {
        "write" if parts[0].starts_with("1<") => {
            let said = String::from_utf8(decode(parts[1])).unwrap_or_default();
            said.trim().strip_prefix("mark ").and_then(|number| number.parse().ok()).map(Call::Mark)
        }
        "write" => Some(Call::Write { name: file()?, at: None, data: data(parts[1], number) }),
        "pwrite64" => {
            Some(Call::Write { name: file()?, at: parts.last()?.parse().ok(), data: data(parts[1], number) })
        }
        "open" | "openat" | "creat" => {
            let opened = within(&path_of(result)?).filter(|name| !name.is_empty())?;
            Some(Call::Open { name: opened, empties: arguments.contains("O_TRUNC") })
        }
        "ftruncate" => Some(Call::Resize { name: file()?, length: parts[1].parse().ok()? }),
        "fsync" | "fdatasync" => {
            Some(file()?).map(|name| if name.is_empty() { Call::SyncFolder } else { Call::Sync { name } })
        }
        "rename" | "renameat" | "renameat2" => {
            let names: Vec<_> = strings().filter_map(|path| within(&path)).collect();
            let [from, to] = <[String; 2]>::try_from(names).ok()?;
            Some(Call::Rename { from, to })
        }
        "unlink" | "unlinkat" => Some(Call::Remove { name: strings().find_map(|path| within(&path))? }),
        _ => {
            let touched = file();
            assert!(touched.is_none(), "a call that is not understood: {line:.200}");
            None
        }
    }
}

/// The path in `descriptor<path>`.
fn path_of(descriptor: &str) -> Option<String> {
    let (_, rest) = descriptor.split_once('<')?;
    let (hex, _) = rest.split_once('>')?;
    String::from_utf8(decode(hex)).ok()
}

/// The written part of the string `"\x…"`.
fn data(string: &str, written: i64) -> Vec<u8> {
    let mut data = decode(string);
    let written = usize::try_from(written).unwrap_or_default();
    assert!(data.len() >= written, "a write of {written} bytes was recorded with {} of them", data.len());
    data.truncate(written);
    data
}

/// The bytes of `\x41\x42`, with or without quotation marks.
fn decode(hex: &str) -> Vec<u8> {
    hex.trim_matches('"').split("\\x").skip(1).filter_map(|two| u8::from_str_radix(two, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_also_where_two_threads_call_at_the_same_time() {
        let text = "7 openat(AT_FDCWD<\\x2f>, \"\\x2f\\x64\\x2f\\x66\", O_RDWR|O_CREAT, 0600) = 3<\\x2f\\x64\\x2f\\x66>\n\
                    7 pwrite64(3<\\x2f\\x64\\x2f\\x66>, \"\\x61\\x62\", 2, 9 <unfinished ...>\n\
                    8 openat(AT_FDCWD<\\x2f>, \"\\x2f\\x78\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
                    7 <... pwrite64 resumed>) = 2\n\
                    7 fdatasync(3<\\x2f\\x64\\x2f\\x66>) = 0\n\
                    7 fsync(4<\\x2f\\x64>)            = 0\n\
                    7 rename(\"\\x2f\\x64\\x2f\\x66\", \"\\x2f\\x64\\x2f\\x67\") = 0\n\
                    7 write(1<\\x70>, \"\\x0a\\x6d\\x61\\x72\\x6b\\x20\\x35\\x0a\", 8) = 8\n\
                    7 +++ exited with 0 +++\n";
        let (f, g) = (|| "f".to_owned(), || "g".to_owned());
        assert_eq!(
            parse(text, Path::new("/d")),
            [
                Call::Open { name: f(), empties: false },
                Call::Write { name: f(), at: Some(9), data: b"ab".to_vec() },
                Call::Sync { name: f() },
                Call::SyncFolder,
                Call::Rename { from: f(), to: g() },
                Call::Mark(5),
            ]
        );
    }
}
