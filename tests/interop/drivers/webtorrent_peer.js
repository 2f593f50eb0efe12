// A webtorrent client for one torrent: checks what is in the folder, then downloads or seeds until
// it is ended. Writes a JSON line with the info hash, and one when everything is there. Peers come
// from the torrent's trackers alone.

const fs = require('fs')
const path = require('path')

const [modules, torrent, folder, port] = process.argv.slice(2)
const say = fields => console.log(JSON.stringify(fields))

const WebTorrent = require(path.join(modules, 'webtorrent'))
const client = new WebTorrent({ dht: false, lsd: false, utp: false, torrentPort: Number(port) })
client.on('error', error => {
  console.error(error.message)
  process.exit(1)
})
const given = torrent.startsWith('magnet:') ? torrent : fs.readFileSync(torrent)
client.add(given, { path: folder }, added => {
  say({ hash: added.infoHash })
  if (added.done) say({ done: true })
  added.on('done', () => say({ done: true }))
  added.on('warning', warning => console.error(String(warning)))
})
