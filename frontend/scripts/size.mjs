// Fails when the first load is larger than it may be: the entry, what it imports, its styles, all as gzip sends them.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 250;
const folder = join(dirname(fileURLToPath(import.meta.url)), "../../chat/static/app");
const manifestPath = join(folder, ".vite/manifest.json");
if (!existsSync(manifestPath)) {
  console.error("There is no built page: npm run build");
  process.exit(1);
}
const manifest = JSON.parse(readFileSync(manifestPath, "utf8"));
const files = new Set();
function collect(name) {
  const chunk = manifest[name];
  if (!chunk || files.has(chunk.file)) return;
  files.add(chunk.file);
  for (const css of chunk.css ?? []) files.add(css);
  for (const other of chunk.imports ?? []) collect(other);
}
for (const [name, chunk] of Object.entries(manifest)) if (chunk.isEntry) collect(name);
if (!files.size) {
  console.error("The manifest names no entry.");
  process.exit(1);
}
const sizes = [...files].map((file) => [file, gzipSync(readFileSync(join(folder, file)), { level: 9 }).length / 1024]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
if (process.argv.includes("-v")) for (const [file, size] of sizes) console.log(`${size.toFixed(1).padStart(8)} KB  ${file}`);
console.log(`First load: ${total.toFixed(1)} KB gzip (at most ${LIMIT_KB})`);
if (total > LIMIT_KB) {
  console.error("The page's first load is too large: load what is rarely needed later.");
  process.exit(1);
}
