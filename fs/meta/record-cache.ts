/**
 * Inode and name records of the store in memory, as they are there, bounded in bytes: about 80 bytes an inode and 45 a name
 * of ordinary length, where the objects made of them take 400 and 250. What was not used since it was last looked at goes
 * first, a chunk at a time.
 *
 * R1 What is here is what the store has, or had before the batch that is being written.
 * R2 While `knowsNames`, a name that is not here is not in the store either.
 */
import { randomBytes } from 'node:crypto';
import { assert } from '../errors.ts';
import { RecordIndex } from './record-index.ts';
import { chunkWords, RecordLog, valueMax } from './record-log.ts';

/** Names made to have the same hash would make a list of the table. */
const seed = randomBytes(4).readInt32LE();
const none = new Uint8Array(0);
/** Of the kind and the number in a key; a name follows. */
const ownerLength = 9;

export class RecordCache {
  readonly #bytesMax: number;
  readonly #index = new RecordIndex();
  readonly #log = new RecordLog();
  #dropped = 0;
  #knowsNames = false;

  /** Where the value of the record that was found last lies, until the next change. */
  bytes: Uint8Array = none;
  start = 0;
  end = 0;

  /** @param bytesMax may be exceeded by a chunk of 256 KiB */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get size(): number {
    return this.#index.size;
  }

  get bytesHeld(): number {
    return this.#index.bytes + this.#log.bytes;
  }

  /** Nothing more goes in without something else going out. */
  get isFull(): boolean {
    return this.bytesHeld >= this.#bytesMax;
  }

  /** All names of the store are here. */
  get knowsNames(): boolean {
    return this.#knowsNames;
  }

  /** Records that went to make room. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Every name of the store was put in, and none was dropped meanwhile (R2). */
  hasAllNames(): void {
    this.#knowsNames = true;
  }

  findInode(ino: number): boolean {
    const [low, high] = [ino >>> 0, Math.floor(ino / 2 ** 32)];
    let record = this.#index.first(finish(hashNumber(low, high)));
    while (record !== 0 && !this.#log.is(record, low, high, 0)) record = this.#index.next();
    return this.#found(record);
  }

  findName(parent: number, name: string): boolean {
    const [low, high] = [parent >>> 0, Math.floor(parent / 2 ** 32)];
    const { length } = name;
    let hash = hashNumber(low, high);
    for (let i = 0; i < length; i++) hash = hashByte(hash, name.charCodeAt(i));
    let record = this.#index.first(finish(hash));
    while (record !== 0 && !(this.#log.is(record, low, high, length) && this.#isNamed(record, name)))
      record = this.#index.next();
    return this.#found(record);
  }

  /** Puts in, or replaces, a record under its key of the store. */
  put(key: Uint8Array, value: Uint8Array): void {
    if (value.length > valueMax) {
      this.delete(key);
      return;
    }
    this.#makeRoom(key.length - ownerLength, value.length);
    const record = this.#seek(key);
    if (record !== 0 && this.#log.overwrite(record, value)) return;
    const added = this.#log.append(u32(key, 5), u32(key, 1), key, ownerLength, value);
    if (record === 0) {
      this.#index.add(added);
      return;
    }
    this.#index.set(added);
    this.#log.delete(record);
  }

  has(key: Uint8Array): boolean {
    return this.#seek(key) !== 0;
  }

  delete(key: Uint8Array): void {
    const record = this.#seek(key);
    if (record === 0) return;
    this.#index.remove();
    this.#log.delete(record);
  }

  #found(record: number): boolean {
    if (record === 0) return false;
    const log = this.#log;
    log.use(record);
    this.bytes = log.bytesOf(record);
    this.start = log.nameAt(record) + log.nameLength(record);
    this.end = this.start + log.valueLength(record);
    return true;
  }

  /** The record; 0: it is not here. */
  #seek(key: Uint8Array): number {
    const [low, high] = [u32(key, 5), u32(key, 1)];
    const nameLength = key.length - ownerLength;
    let hash = hashNumber(low, high);
    for (let i = ownerLength; i < key.length; i++) hash = hashByte(hash, key[i] ?? 0);
    let record = this.#index.first(finish(hash));
    while (record !== 0 && !(this.#log.is(record, low, high, nameLength) && this.#endsIn(record, key)))
      record = this.#index.next();
    return record;
  }

  #isNamed(record: number, name: string): boolean {
    const bytes = this.#log.bytesOf(record);
    const at = this.#log.nameAt(record);
    for (let i = 0; i < name.length; i++) if (bytes[at + i] !== name.charCodeAt(i)) return false;
    return true;
  }

  /** Whether the name of the record is that of the key. */
  #endsIn(record: number, key: Uint8Array): boolean {
    const bytes = this.#log.bytesOf(record);
    let at = this.#log.nameAt(record);
    for (let i = ownerLength; i < key.length; i++) if (bytes[at++] !== key[i]) return false;
    return true;
  }

  /** A new chunk at most: into it goes what is left of one with gaps, or of the one that is given up. */
  #makeRoom(nameLength: number, valueLength: number): void {
    if (this.#log.hasRoom(nameLength, valueLength)) return;
    const gaps = this.#log.withGaps();
    const from = gaps >= 0 || !this.isFull ? gaps : this.#log.oldest();
    this.#log.open();
    if (from < 0) return;
    // So that there is room afterwards: of a chunk without gaps no more than half stays.
    let stays = gaps >= 0 ? Infinity : chunkWords / 2;
    for (const record of this.#log.in(from)) {
      const words = this.#log.wordsOf(record);
      this.#seekRecord(record);
      if (gaps >= 0 || (this.#log.isUsed(record) && words <= stays)) {
        stays -= words;
        this.#index.set(this.#log.move(record));
      } else {
        this.#index.remove();
        this.#dropped++;
        if (this.#log.nameLength(record) > 0) this.#knowsNames = false;
      }
    }
    this.#log.release(from);
  }

  /** Brings the index to a record that is in it. */
  #seekRecord(record: number): void {
    const bytes = this.#log.bytesOf(record);
    const at = this.#log.nameAt(record);
    let hash = hashNumber(this.#log.low(record), this.#log.high(record));
    for (let i = this.#log.nameLength(record), byte = at; i > 0; i--) hash = hashByte(hash, bytes[byte++] ?? 0);
    for (let found = this.#index.first(finish(hash)); found !== record; found = this.#index.next())
      assert(found !== 0, 'a record that is not gone is in the index');
  }
}

function u32(key: Uint8Array, at: number): number {
  return (((key[at] ?? 0) << 24) | ((key[at + 1] ?? 0) << 16) | ((key[at + 2] ?? 0) << 8) | (key[at + 3] ?? 0)) >>> 0;
}

function hashNumber(low: number, high: number): number {
  const hash = Math.imul(seed ^ low, 0x85eb_ca6b);
  return Math.imul(hash ^ (hash >>> 13) ^ high, 0xc2b2_ae35);
}

function hashByte(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x0100_0193);
}

/** Every bit depends on every other (MurmurHash3's last step). */
function finish(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
