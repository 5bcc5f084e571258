import { FsError } from '../../fs/errors.ts';
import { limits } from '../../fs/limits.ts';

const units = ['', 'k', 'm', 'g', 't'] as const;
const names = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Bytes of `4096`, `4k`, `512m`, `2g`, `1t`: powers of 1024, as mkfs.xfs takes them; or `0x1000`. @throws FsError EINVAL */
export function parseSize(text: string): number {
  if (/^0x[0-9a-f]{1,13}$/i.test(text)) return Number(text);
  const match = /^(\d+)([kmgt]?)$/i.exec(text);
  const power = units.findIndex((unit) => unit === match?.[2]?.toLowerCase());
  const bytes = Number(match?.[1]) * 1024 ** power;
  if (match === null || !Number.isSafeInteger(bytes)) {
    throw new FsError('EINVAL', { detail: `${JSON.stringify(text)} is not a size (a number with k, m, g or t)` });
  }
  return bytes;
}

/** `512.0 MiB`; below a KiB without a fraction. */
export function formatSize(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(names.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${names[power] ?? ''}`;
}

/** Whole positive milliseconds of an option. @throws FsError EINVAL */
export function parseMilliseconds(text: string): number {
  const ms = Number(text);
  if (!/^\d+$/.test(text) || ms < 1 || ms > 2 ** 31 - 1) {
    throw new FsError('EINVAL', { detail: `${JSON.stringify(text)} is not a time in milliseconds` });
  }
  return ms;
}

/** Milliseconds of a number of microseconds, at most a thousand. @throws FsError EINVAL */
export function parseMicroseconds(text: string): number {
  const us = Number(text);
  if (!/^\d+$/.test(text) || us > 1000) {
    throw new FsError('EINVAL', { detail: `${JSON.stringify(text)} is not a time of 0 to 1000 microseconds` });
  }
  return us / 1000;
}

/** A number of whole seconds, at most an hour. @throws FsError EINVAL */
export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d+$/.test(text) || seconds > 3600) {
    throw new FsError('EINVAL', { detail: `${JSON.stringify(text)} is not a time of 0 to 3600 seconds` });
  }
  return seconds;
}

/** A whole number of things. @throws FsError EINVAL */
export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count)) {
    throw new FsError('EINVAL', { detail: `${JSON.stringify(text)} is not a whole number` });
  }
  return count;
}

/** Hundredths of a percent of `5`, `0.25`: what may be kept for root. @throws FsError EINVAL */
export function parsePercent(text: string): number {
  const hundredths = Math.round(Number(text) * 100);
  if (!/^\d+(\.\d{1,2})?$/.test(text) || hundredths > limits.reserveMax) {
    throw new FsError('EINVAL', {
      detail: `${JSON.stringify(text)} is not a percentage from 0 to ${limits.reserveMax / 100}`,
    });
  }
  return hundredths;
}
