// SPDX-License-Identifier: Apache-2.0
// Says hello. Everything a function needs: listen on $PORT, write what happened to stdout.
const http = require('http');

http.createServer((req, res) => {
  console.log(`${req.method} ${req.url}`);
  req.resume();
  res.setHeader('Content-Type', 'text/plain');
  res.end(`Hello from Node, ${process.env.TARGET || 'world'}!\n`);
}).listen(process.env.PORT, '127.0.0.1');
