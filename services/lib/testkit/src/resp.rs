//! Just enough of the Redis protocol (RESP2) for tests to ask a server about itself.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends commands over one connection and gives the reply to the last one as it came.
pub(crate) fn ask(server: SocketAddr, commands: &[&[&str]]) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&server, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::new(stream);
    let mut reply = String::new();
    for command in commands {
        let mut bytes = format!("*{}\r\n", command.len());
        for part in *command {
            bytes.push_str(&format!("${}\r\n{part}\r\n", part.len()));
        }
        reader.get_mut().write_all(bytes.as_bytes())?;
        reply.clear();
        read_reply(&mut reader, &mut reply)?;
    }
    Ok(reply)
}

fn read_reply(from: &mut impl BufRead, into: &mut String) -> io::Result<()> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = || line[1..].trim().parse::<i64>().map_err(io::Error::other);
    match line.as_bytes()[0] {
        b'$' => {
            if let Ok(length) = usize::try_from(length()?) {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes)?;
                line.push_str(&String::from_utf8_lossy(&bytes));
            }
            into.push_str(&line);
        }
        b'*' => {
            let members = length()?;
            into.push_str(&line);
            for _ in 0..members {
                read_reply(from, into)?;
            }
        }
        _ => into.push_str(&line),
    }
    Ok(())
}
