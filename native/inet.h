/* Offsets and values of Ethernet, IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293) and UDP (RFC 768). */
#ifndef TWILL_INET_H
#define TWILL_INET_H

#include <stdint.h>
#include <string.h>

#define ETHERNET 14
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8

#define IPV4_HEADER 20
#define IPV4_TOTAL 2
#define IPV4_ID 4
#define IPV4_FRAGMENT 6
#define IPV4_PROTOCOL 9
#define IPV4_CHECKSUM 10
#define IPV4_ADDRESSES 12
/* Of the fragment word. */
#define IPV4_DF 0x4000
#define IPV4_MF_OFFSET 0x3fff

#define IPV6_HEADER 40
#define IPV6_PAYLOAD 4
#define IPV6_NEXT 6
#define IPV6_ADDRESSES 8

#define TCP_HEADER 20
#define TCP_SEQUENCE 4
#define TCP_FLAGS 13
#define TCP_CHECKSUM 16
#define TCP_URGENT 18 /* options follow */
#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_CWR 0x80

#define UDP_HEADER 8
#define UDP_LENGTH 4
#define UDP_CHECKSUM 6

/* Header of its own length: 4-byte words in the upper half of byte 12. */
static inline int32_t tcp_header(const uint8_t *tcp) { return (tcp[12] >> 4) * 4; }

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static inline void put16(uint8_t *p, int32_t value)
{
  p[0] = (uint8_t)(value >> 8);
  p[1] = (uint8_t)value;
}

static inline uint32_t load32(const uint8_t *p)
{
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

static inline uint16_t load16(const uint8_t *p)
{
  uint16_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

static inline void store16(uint8_t *p, uint16_t value) { memcpy(p, &value, sizeof value); }

#endif
