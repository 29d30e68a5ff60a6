// Node's http2 and http with their defaults, the body written as `drain` asks: the paths of the lab's origin. Two ports.
const http = require('http'), http2 = require('http2');
const piece = Buffer.alloc(65536);
let release, released = new Promise(done => release = done);

function endless(out) {
  const more = () => { while (out.write(piece)); out.once('drain', more); };
  out.on('error', () => {});
  more();
}

async function answer(path, from, to, head) {
  from.on('error', () => {});
  if (path === '/.lab/endless') { head(); return endless(to); }
  if (path === '/.lab/release') { release(); head(); return to.end('released\n'); }
  if (path === '/.lab/unread') {
    await released;
    let read = 0;
    from.on('data', data => read += data.length);
    from.on('end', () => { head(); to.end(read + '\n'); });
    return;
  }
  head();
  to.end('done\n');
}

const one = http.createServer((request, reply) => answer(request.url, request, reply, () => {}));
const two = http2.createServer();
two.on('stream', (stream, fields) => answer(fields[':path'], stream, stream, () => stream.respond({ ':status': 200 })));
two.on('sessionError', () => {});
two.listen(0, '127.0.0.1', () => one.listen(0, '127.0.0.1', () =>
  console.log(`127.0.0.1:${two.address().port} 127.0.0.1:${one.address().port}`)));
