/**
 * The binary interface of libfabric 1.x, as far as it is used here. The library exports five functions; all others are
 * `static inline` in its headers (rdma/fabric.h, fi_domain.h, fi_endpoint.h, fi_rma.h, fi_eq.h) and go through tables of
 * function pointers that hang on each object. The layout of objects and tables only ever grows at their ends
 * (fabric(7), "ABI Changes"; libfabric.map), which keeps these offsets right for every 1.x on 64-bit machines.
 * test/fabric/abi.test.ts compares all of them with the headers where those are installed.
 */

/** Bytes from the start of the structure, by the names of the headers. */
export const offsets = {
  fi_info: {
    next: 0,
    caps: 8,
    mode: 16,
    addr_format: 24,
    tx_attr: 72,
    ep_attr: 88,
    domain_attr: 96,
    fabric_attr: 104,
  },
  fi_tx_attr: { op_flags: 16 },
  fi_ep_attr: { type: 0, max_msg_size: 16 },
  fi_domain_attr: { threading: 16, data_progress: 24, mr_mode: 36, mr_key_size: 40 },
  fi_fabric_attr: { prov_name: 16 },
  fid: { ops: 16 },
  fid_fabric: { ops: 24 },
  fid_domain: { ops: 24, mr: 32 },
  fid_av: { ops: 24 },
  fid_cq: { ops: 24 },
  fid_cntr: { ops: 24 },
  fid_ep: { cm: 32, rma: 48 },
  fid_mr: { key: 32 },
  fi_ops: { close: 8, bind: 16, control: 24 },
  fi_ops_fabric: { domain: 8, trywait: 40 },
  fi_ops_domain: { av_open: 8, cq_open: 16, endpoint: 24, cntr_open: 40 },
  fi_ops_mr: { reg: 8 },
  fi_ops_av: { insert: 8 },
  fi_ops_cq: { read: 8, readerr: 24 },
  fi_ops_cntr: { read: 8 },
  fi_ops_cm: { getname: 16 },
  fi_ops_rma: { read: 8, write: 32 },
  fi_av_attr: { type: 0, count: 8 },
  fi_cq_attr: { size: 0, format: 16, wait_obj: 20 },
  fi_cq_err_entry: { op_context: 0, err: 56, prov_errno: 60 },
} as const;

/** Bytes of the structures that are made here. */
export const sizes = { fi_av_attr: 48, fi_cq_attr: 40, fi_cntr_attr: 24, fi_cq_entry: 8, fi_cq_err_entry: 80 } as const;

/** Capabilities and flags, rdma/fabric.h. */
export const flag = {
  FI_MSG: 1n << 1n,
  FI_RMA: 1n << 2n,
  FI_READ: 1n << 8n,
  FI_WRITE: 1n << 9n,
  FI_RECV: 1n << 10n,
  FI_SEND: 1n << 11n,
  FI_TRANSMIT: 1n << 11n,
  FI_REMOTE_READ: 1n << 12n,
  FI_REMOTE_WRITE: 1n << 13n,
  FI_DELIVERY_COMPLETE: 1n << 28n,
  FI_SOURCE: 1n << 57n,
} as const;

/** Memory registration modes (fi_mr(3)). */
export const mrMode = { FI_MR_VIRT_ADDR: 1 << 4, FI_MR_ALLOCATED: 1 << 5, FI_MR_PROV_KEY: 1 << 6 } as const;

/** Members of enumerations. */
export const constant = {
  FI_EP_RDM: 3,
  FI_AV_MAP: 1,
  FI_AV_TABLE: 2,
  FI_CQ_FORMAT_CONTEXT: 1,
  FI_WAIT_NONE: 0,
  FI_WAIT_FD: 3,
  FI_GETWAIT: 5,
  FI_ENABLE: 6,
  FI_PROGRESS_AUTO: 1,
  FI_PROGRESS_MANUAL: 2,
  FI_THREAD_SAFE: 1,
  FI_THREAD_DOMAIN: 3,
} as const;

/** Numbers of rdma/fi_errno.h that are not those of Linux, and those that are acted on. */
export const failure = { FI_EAGAIN: 11, FI_EAVAIL: 259 } as const;
