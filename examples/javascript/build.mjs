import { readFile, writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const source = await readFile('greet.js', 'utf8');
const options = { witPath: 'wit', worldName: 'plugin', disableFeatures: ['http', 'fetch-event'] };
const { component } = await componentize(source, options);
await writeFile('greet.wasm', component);
