/** Results of operations: the names of RFC 8881 §15.1 without their prefix, with the numbers there. */

import { constants } from 'node:os';
import { type ErrnoName, errnoOf, FsError } from '../../fs/errors.ts';

export const status = {
  OK: 0,
  PERM: 1,
  NOENT: 2,
  IO: 5,
  NXIO: 6,
  ACCESS: 13,
  EXIST: 17,
  XDEV: 18,
  NOTDIR: 20,
  ISDIR: 21,
  INVAL: 22,
  FBIG: 27,
  NOSPC: 28,
  ROFS: 30,
  MLINK: 31,
  NAMETOOLONG: 63,
  NOTEMPTY: 66,
  DQUOT: 69,
  STALE: 70,
  BADHANDLE: 10001,
  BAD_COOKIE: 10003,
  NOTSUPP: 10004,
  TOOSMALL: 10005,
  SERVERFAULT: 10006,
  BADTYPE: 10007,
  DELAY: 10008,
  DENIED: 10010,
  EXPIRED: 10011,
  LOCKED: 10012,
  GRACE: 10013,
  CLID_INUSE: 10017,
  STALE_CLIENTID: 10022,
  OLD_STATEID: 10024,
  BAD_STATEID: 10025,
  SYMLINK: 10029,
  NO_GRACE: 10033,
  RECLAIM_BAD: 10034,
  BADXDR: 10036,
  LOCKS_HELD: 10037,
  NOT_SAME: 10027,
  OPENMODE: 10038,
  BADNAME: 10041,
  OP_ILLEGAL: 10044,
  FILE_OPEN: 10046,
  ADMIN_REVOKED: 10047,
  BADIOMODE: 10049,
  BADLAYOUT: 10050,
  BADSESSION: 10052,
  BADSLOT: 10053,
  COMPLETE_ALREADY: 10054,
  LAYOUTTRYLATER: 10058,
  LAYOUTUNAVAILABLE: 10059,
  NOMATCHING_LAYOUT: 10060,
  RECALLCONFLICT: 10061,
  SEQ_MISORDERED: 10063,
  REQ_TOO_BIG: 10065,
  REP_TOO_BIG: 10066,
  REP_TOO_BIG_TO_CACHE: 10067,
  RETRY_UNCACHED_REP: 10068,
  OP_NOT_IN_SESSION: 10071,
  CLIENTID_BUSY: 10074,
  SEQ_FALSE_RETRY: 10076,
  DEADSESSION: 10078,
  WRONG_TYPE: 10083,
  NOXATTR: 10095,
  XATTR2BIG: 10096,
} as const;

export type StatusName = keyof typeof status;
export type StatusNumber = (typeof status)[StatusName];

const names = new Map<number, StatusName>(
  Object.keys(status)
    .filter(isStatusName)
    .map((name) => [status[name], name] as const),
);

function isStatusName(name: string): name is StatusName {
  return Object.hasOwn(status, name);
}

/** undefined for a number that this side does not know. */
export function statusName(number: number): StatusName | undefined {
  return names.get(number);
}

/** sr_status_flags of SEQUENCE (RFC 8881 §18.46); every reply in a session carries them. */
export const sequenceFlag = {
  CB_PATH_DOWN: 0x1,
  EXPIRED_ALL_STATE_REVOKED: 0x8,
  EXPIRED_SOME_STATE_REVOKED: 0x10,
  ADMIN_STATE_REVOKED: 0x20,
  RECALLABLE_STATE_REVOKED: 0x40,
  RESTART_RECLAIM_NEEDED: 0x100,
  CB_PATH_DOWN_SESSION: 0x200,
  BACKCHANNEL_FAULT: 0x400,
} as const;

/** An operation failed with a named status. `detail` names the file, the range and the client, for people. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly status: StatusName;
  readonly detail: string;
  /** The errno behind the status, where a file operation failed. */
  readonly errno: ErrnoName | undefined;
  /** What the reply says besides, for the few failures that have results. */
  readonly results: readonly unknown[] | undefined = undefined;

  constructor(name: StatusName, detail: string, errno?: ErrnoName, cause?: unknown) {
    super(`${name}: ${detail}`, cause === undefined ? undefined : { cause });
    this.status = name;
    this.detail = detail;
    this.errno = errno;
  }
}

/** LAYOUTTRYLATER of LAYOUTGET: `willSignal` promises a CB_RECALLABLE_OBJ_AVAIL (RFC 8881 §18.43.2). */
export class TryLater extends StatusError {
  override readonly results: readonly [willSignal: boolean];

  constructor(detail: string, willSignal: boolean) {
    super('LAYOUTTRYLATER', detail);
    this.results = [willSignal];
  }
}

/** Errors that NFS knows; every other errno travels as IO, with its own name beside it. */
const byErrno: Partial<Record<ErrnoName, StatusName>> = {
  EPERM: 'PERM',
  ENOENT: 'NOENT',
  EIO: 'IO',
  ENXIO: 'NXIO',
  EBADF: 'BAD_STATEID',
  EAGAIN: 'DELAY',
  EACCES: 'ACCESS',
  EEXIST: 'EXIST',
  EXDEV: 'XDEV',
  ENOTDIR: 'NOTDIR',
  EISDIR: 'ISDIR',
  EINVAL: 'INVAL',
  EFBIG: 'FBIG',
  ENOSPC: 'NOSPC',
  EROFS: 'ROFS',
  EMLINK: 'MLINK',
  ENAMETOOLONG: 'NAMETOOLONG',
  ENOTEMPTY: 'NOTEMPTY',
  EDQUOT: 'DQUOT',
  ESTALE: 'STALE',
  EOPNOTSUPP: 'NOTSUPP',
  ENOSYS: 'NOTSUPP',
  EBUSY: 'FILE_OPEN',
  ETXTBSY: 'FILE_OPEN',
  ELOOP: 'SYMLINK',
  ENODATA: 'NOXATTR',
  ENOATTR: 'NOXATTR',
  E2BIG: 'XATTR2BIG',
};

/** What the peer gets for an error of the filesystem. */
export function statusOfFsError(error: FsError): StatusError {
  return new StatusError(byErrno[error.code] ?? 'IO', error.message, error.code, error);
}

/** Statuses whose errno is not the first one above that maps to them, or that none maps to. */
const errnoByStatus: Partial<Record<StatusName, ErrnoName>> = {
  DELAY: 'EAGAIN',
  LAYOUTTRYLATER: 'EAGAIN',
  GRACE: 'EAGAIN',
  RECALLCONFLICT: 'EAGAIN',
  BAD_STATEID: 'EBADF',
  OLD_STATEID: 'EBADF',
  ADMIN_REVOKED: 'EIO',
  EXPIRED: 'EIO',
  OPENMODE: 'EBADF',
  BADHANDLE: 'ESTALE',
  BADNAME: 'EINVAL',
  BADTYPE: 'EINVAL',
  WRONG_TYPE: 'EINVAL',
  BADXDR: 'EPROTO',
  OP_ILLEGAL: 'EOPNOTSUPP',
  NOTSUPP: 'EOPNOTSUPP',
  FILE_OPEN: 'EBUSY',
  SYMLINK: 'ELOOP',
  NOXATTR: 'ENODATA',
};

const firstErrno = new Map<StatusName, ErrnoName>();
for (const errno of Object.keys(byErrno).filter(isErrnoName)) {
  const mapped = byErrno[errno];
  if (mapped !== undefined && !firstErrno.has(mapped)) firstErrno.set(mapped, errno);
}

function isErrnoName(name: string): name is ErrnoName {
  return Object.hasOwn(constants.errno, name) || ['ENOATTR', 'EUCLEAN', 'ESHUTDOWN', 'EKEYEXPIRED'].includes(name);
}

/** The errno that a file operation of the other side fails with: the one that travelled, else the closest. */
export function errnoOfStatus(name: StatusName, errno: string | null): ErrnoName {
  if (errno !== null && isErrnoName(errno) && Number.isInteger(errnoOf(errno))) return errno;
  return errnoByStatus[name] ?? firstErrno.get(name) ?? 'EIO';
}
