//! A web page of another origin, with what clients of the transports do in a browser.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const PAGE: &str = "<!doctype html><title>another origin</title><script>
window.seen = []; window.opened = 0; window.errors = 0;
function follow(url) {
  const source = window.source = new EventSource(url);
  source.addEventListener('open', (event) => { if (event.data) window.opened += 1; });
  source.addEventListener('message', (event) => window.seen.push([JSON.parse(event.data).serial, event.lastEventId]));
  source.onerror = () => { window.errors += 1; };
}
function socket(url, token, channel) {
  window.heard = [];
  const socket = new WebSocket(url);
  const send = (frame) => socket.send(JSON.stringify(frame));
  socket.onopen = () => { send({id: 1, op: 'connect', token}); send({id: 2, op: 'subscribe', channel}); };
  socket.onmessage = (event) => window.heard.push(JSON.parse(event.data));
}
function follow_socket(url, token, channel) {
  const state = window.socket_state = {serials: [], epoch: null, connections: 0, closes: 0, resumed: []};
  const connect = () => {
    const socket = new WebSocket(url);
    const send = (frame) => socket.send(JSON.stringify(frame));
    const since = state.epoch && {epoch: state.epoch, serial: state.serials.at(-1) ?? 0};
    socket.onopen = () => { send({id: 1, op: 'connect', token}); send({id: 2, op: 'subscribe', channel, ...(since && {since})}); };
    socket.onmessage = (event) => {
      const frame = JSON.parse(event.data);
      if (frame.op === 'ping') send({op: 'pong'});
      if (frame.op === 'message') state.serials.push(frame.serial);
      if (frame.id === 2) { state.epoch = frame.ok.epoch; state.connections += 1; state.resumed.push(frame.ok.resumed ?? null); }
    };
    socket.onclose = () => { state.closes += 1; setTimeout(connect, 100); };
  };
  connect();
}
async function stream(url, token) {
  const state = window.streamed = {status: 0, type: '', events: [], ended: false};
  const answer = await fetch(url, {headers: {Authorization: `Bearer ${token}`}});
  state.status = answer.status;
  state.type = answer.headers.get('content-type');
  const reader = answer.body.getReader(), decoder = new TextDecoder();
  for (let text = ''; ;) {
    const {done, value} = await reader.read();
    if (done) break;
    text += decoder.decode(value, {stream: true});
    for (let end; (end = text.indexOf('\\n\\n')) >= 0; text = text.slice(end + 2)) {
      const lines = text.slice(0, end).split('\\n').map((line) => line.split(': '));
      const of = (name) => lines.find(([key]) => key === name)?.slice(1).join(': ');
      if (of('event')) state.events.push({event: of('event'), id: of('id'), data: JSON.parse(of('data'))});
    }
  }
  state.ended = true;
}
async function poll(url, token, last) {
  const headers = {Authorization: `Bearer ${token}`};
  const answer = await fetch(url, {headers: last ? {...headers, 'Last-Event-ID': last} : headers});
  return {status: answer.status, id: answer.headers.get('x-request-id'), body: await answer.json()};
}
</script>";

/// Serves a page at an address of its own, so that everything it asks of the server is of another origin.
pub async fn other_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    PAGE.len()
                );
                let _ = stream.write_all(format!("{head}{PAGE}").as_bytes()).await;
            });
        }
    });
    address
}
